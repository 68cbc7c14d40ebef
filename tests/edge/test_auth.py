"""API keys."""

from collections.abc import Iterator

import pytest

from app.edge.auth import ApiKeys
from app.edge.limits import EdgeLimits
from tests.edge.server import Edge


@pytest.fixture(scope="module")
def guarded() -> Iterator[Edge]:
    with Edge(EdgeLimits(), keys=["first-key", "zweiter-schlüssel"]) as edge:
        yield edge


@pytest.mark.parametrize("value", ["Bearer first-key", "bearer zweiter-schlüssel", "BEARER   first-key "])
def test_each_key_opens(guarded: Edge, value: str) -> None:
    assert guarded.ask(f"GET /v1 HTTP/1.1\r\nAuthorization: {value}\r\n\r\n".encode()).status == 200


@pytest.mark.parametrize(
    "lines",
    [
        "",
        "Authorization:\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: Bearer first-ke\r\n",
        "Authorization: Bearer first-key2\r\n",
        "Authorization: Bearer first-key, zweiter-schlüssel\r\n",
        "Authorization: Basic first-key\r\n",
        "Authorization: first-key\r\n",
        "Authorization: Bearer \xff\xfe\r\n",
        "Authorization: Bearer first-key\r\nAuthorization: Bearer first-key\r\n",
        "X-Authorization: Bearer first-key\r\n",
    ],
)
def test_nothing_else_does(guarded: Edge, lines: str) -> None:
    reply = guarded.ask(f"GET /v1 HTTP/1.1\r\n{lines}\r\n".encode())
    assert (reply.status, reply.code) == (401, "invalid_api_key")
    assert reply.headers["www-authenticate"] == "Bearer"
    assert b"first-ke" not in reply.body


def test_bytes_that_are_no_text_are_no_key(guarded: Edge) -> None:
    assert guarded.ask(b"GET /v1 HTTP/1.1\r\nAuthorization: Bearer \xff\x80\r\n\r\n").status == 401


def test_exempt_paths_need_no_key(guarded: Edge) -> None:
    assert guarded.ask(b"GET /livez HTTP/1.1\r\n\r\n").status == 200
    for path in (b"/livez/", b"/Livez", b"//livez", b"/v1/livez"):
        assert guarded.ask(b"GET %b HTTP/1.1\r\n\r\n" % path).status == 401


def test_the_body_of_a_stranger_is_not_asked_for(guarded: Edge) -> None:
    head = b"POST /v1 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n"
    assert guarded.ask(head).status == 401
    assert guarded.ask(b"POST /v1 HTTP/1.1\r\nContent-Length: 10\r\n\r\n").status == 401


@pytest.mark.parametrize("keys", [[], [""], ["a", ""]])
def test_an_empty_key_is_no_protection(keys: list[str]) -> None:
    with pytest.raises(ValueError, match="keys"):
        ApiKeys(keys)
