"""What a connection may send before its request is understood."""

from time import sleep

import pytest

from tests.edge.server import Edge, wait_for


def test_an_ordinary_request_arrives_unchanged(edge: Edge) -> None:
    reply = edge.ask(b"POST /a%20b?c=d HTTP/1.1\r\nHost: x\r\nX-Y: \xfcz\r\nContent-Length: 3\r\n\r\nabc")
    assert reply.status == 200
    seen = reply.json()
    assert (seen["path"], seen["query"], seen["size"]) == ("/a b", "c=d", 3)
    assert seen["headers"] == [["host", "x"], ["x-y", "\xfcz"], ["content-length", "3"]]


def test_a_header_of_5_mb_is_refused_early(edge: Edge) -> None:
    with edge.connect() as connection:
        connection.send(b"GET /ok HTTP/1.1\r\nX: ")
        connection.send(b"a" * 500_000)
        reply = connection.reply()
        assert (reply.status, reply.code) == (431, "headers_too_large")
        assert reply.headers["connection"] == "close"
        connection.send(b"a" * 4_500_000)
        assert connection.closed()
    assert edge.serves()


@pytest.mark.parametrize("chunk", [100_000, 1000])
def test_complete_headers_over_the_limit_are_refused(edge: Edge, chunk: int) -> None:
    request = (
        b"GET /ok HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 900) for n in range(19)) + b"\r\n"
    )
    with edge.connect() as connection:
        for start in range(0, len(request), chunk):
            connection.send(request[start : start + chunk])
        assert connection.reply().code == "headers_too_large"


def test_headers_just_below_the_limit_are_taken(edge: Edge) -> None:
    assert edge.ask(b"GET /ok HTTP/1.1\r\nX: " + b"a" * 16_000 + b"\r\n\r\n").status == 200


def test_ten_thousand_headers_are_refused(edge: Edge) -> None:
    reply = edge.ask(b"GET /ok HTTP/1.1\r\n" + b"a: b\r\n" * 10_000 + b"\r\n")
    assert (reply.status, reply.code) == (431, "too_many_headers")
    assert edge.ask(b"GET /ok HTTP/1.1\r\n" + b"a: b\r\n" * 100 + b"\r\n").status == 200
    assert edge.ask(b"GET /ok HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"\r\n").status == 431


@pytest.mark.parametrize("end", [b"", b" HTTP/1.1\r\n\r\n"])
def test_a_long_target_is_refused(edge: Edge, end: bytes) -> None:
    reply = edge.ask(b"GET /" + b"a" * 9000 + end)
    assert (reply.status, reply.code) == (414, "target_too_long")


def test_a_body_in_the_same_chunk_does_not_count_as_headers(edge: Edge) -> None:
    body = b"GET / HTTP/1.1\r\n\r\n" * 5000
    assert (
        edge.ask(b"POST /ok HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body).json()["size"]
        == 90_000
    )


def test_a_request_behind_a_large_body_does_not_count_it(edge: Edge) -> None:
    with edge.connect() as connection:
        connection.send(
            b"POST /1 HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + b"a" * 100_000 + b"GET /2 HTTP"
        )
        assert connection.reply().json()["path"] == "/1"
        assert connection.ask(b"/1.1\r\n\r\n").json()["path"] == "/2"


CHUNKED = b"POST /chunked HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
MALFORMED = {
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "nul": b"\x00" * 100,
    "unknown method": b"FOO / HTTP/1.1\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "version 3.7": b"GET / HTTP/3.7\r\n\r\n",
    "bare line feed": b"GET / HTTP/1.1\na: b\n\n",
    "header without colon": b"GET / HTTP/1.1\r\nabc\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\na : b\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\na: b\r\n c\r\n\r\n",
    "nul in header": b"GET / HTTP/1.1\r\na: b\x00\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "contradicting lengths": b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "list of lengths": b"POST / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\nabc",
    "signed length": b"POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc",
    "negative length": b"POST / HTTP/1.1\r\nContent-Length: -3\r\n\r\nabc",
    "endless length": b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\nabc",
    "length and chunked": b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunked and length": CHUNKED + b"Content-Length: 3\r\n\r\n0\r\n\r\n",
    "chunked twice": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "not chunked at the end": b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
    "chunk size": CHUNKED + b"\r\nxyz\r\n",
    "chunk longer than said": CHUNKED + b"\r\n3\r\nabcd\r\n0\r\n\r\n",
}
TARGETS = {
    "non-ascii path": b"GET /\xff\xe9 HTTP/1.1\r\n\r\n",
    "utf-8 path": "GET /schlüssel HTTP/1.1\r\n\r\n".encode(),
    "non-ascii query": b"GET /a?b=\xff HTTP/1.1\r\n\r\n",
    "control character": b"GET /a\x01 HTTP/1.1\r\n\r\n",
    "relative": b"GET a/b HTTP/1.1\r\n\r\n",
    "no path": b"GET http://host HTTP/1.1\r\n\r\n",
    "port too large": b"GET http://host:99999/ HTTP/1.1\r\n\r\n",
    "broken address": b"GET http://[::1/ HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_requests_get_400(edge: Edge, request_bytes: bytes) -> None:
    with edge.connect() as connection:
        reply = connection.ask(request_bytes)
        assert (reply.status, reply.code) == (400, "malformed_request")
        assert connection.closed()


@pytest.mark.parametrize("request_bytes", TARGETS.values(), ids=TARGETS.keys())
def test_strange_targets_get_400(edge: Edge, request_bytes: bytes) -> None:
    reply = edge.ask(request_bytes)
    assert (reply.status, reply.code) == (400, "invalid_target")


@pytest.mark.parametrize("target", [b"/%ff%00%zz", b"//x/../y", b"*", b"http://host/path", b"/?{}|^`<>"])
def test_unusual_targets_reach_the_application(edge: Edge, target: bytes) -> None:
    assert edge.ask(b"OPTIONS %b HTTP/1.1\r\n\r\n" % target).status == 200


def test_no_reply_holds_what_the_client_sent(edge: Edge) -> None:
    for line in (b"GET sentinel HTTP/1.1", b"SENTINEL / HTTP/1.1", b"GET / HTTP/1.1\r\nsentinel sentinel"):
        assert b"sentinel" not in edge.ask(line + b"\r\n\r\n").body.lower()


def test_connect_is_refused(edge: Edge) -> None:
    assert edge.ask(b"CONNECT host:443 HTTP/1.1\r\n\r\n").status == 501


def test_pipelined_requests_are_answered_in_order(edge: Edge) -> None:
    with edge.connect() as connection:
        connection.send(b"".join(b"POST /%d HTTP/1.1\r\nContent-Length: 2\r\n\r\nab" % n for n in range(20)))
        assert [connection.reply().json()["path"] for _ in range(20)] == [f"/{n}" for n in range(20)]


def test_what_was_understood_is_answered_before_a_refusal(edge: Edge) -> None:
    with edge.connect() as connection:
        connection.send(b"GET /wait HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nrubbish\r\n\r\n")
        wait_for(lambda: edge.app.events == ["waiting"])
        edge.app.release.set()
        assert connection.reply().json()["path"] == "/wait"
        assert connection.reply().json()["path"] == "/2"
        assert connection.reply().code == "malformed_request"
        assert connection.closed()


def test_a_broken_body_behind_another_request_is_refused_in_its_turn(edge: Edge) -> None:
    with edge.connect() as connection:
        connection.send(
            b"GET /wait HTTP/1.1\r\n\r\nPOST /2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"
        )
        wait_for(lambda: edge.app.events == ["waiting"])
        edge.app.release.set()
        assert connection.reply().json()["path"] == "/wait"
        assert connection.reply().code == "malformed_request"
        assert connection.closed()


def test_a_flood_of_pipelined_requests_is_cut_off(edge: Edge) -> None:
    with edge.connect() as connection:
        connection.send(b"GET /1 HTTP/1.1\r\n\r\n" * 10_000)
        replies = [connection.reply() for _ in range(34)]
        assert {reply.status for reply in replies[:-1]} == {200}
        assert (replies[-1].status, replies[-1].code) == (429, "too_many_pipelined")
        assert connection.closed()


@pytest.mark.parametrize(
    "body", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("cut", [0, 1, 9])
def test_an_offer_to_upgrade_is_ignored_and_the_body_kept(edge: Edge, body: bytes, cut: int) -> None:
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAA\r\n"
    request = b"POST /h2c HTTP/1.1\r\n" + offer + body
    with edge.connect() as connection:
        for _ in range(2):
            connection.send(request[: len(request) - cut])
            if cut:
                sleep(0.02)
                connection.send(request[len(request) - cut :])
            seen = connection.reply().json()
            assert (seen["path"], seen["size"]) == ("/h2c", 5)


def test_a_websocket_is_answered_as_a_plain_request(edge: Edge) -> None:
    with edge.connect() as connection:
        offer = b"GET /%d HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        connection.send(b"".join(offer % n for n in range(3)))
        assert [connection.reply().json()["path"] for _ in range(3)] == ["/0", "/1", "/2"]


def test_trailers_do_not_join_the_headers(edge: Edge) -> None:
    request = CHUNKED + b"\r\n2\r\nab\r\n0\r\nX-Secret: 1\r\n\r\n"
    reply = edge.ask(request)
    assert reply.json()["headers"] == [["transfer-encoding", "chunked"]]


def test_trailers_without_end_are_refused(edge: Edge) -> None:
    with edge.connect() as connection:
        connection.send(CHUNKED + b"\r\n2\r\nab\r\n0\r\nX: ")
        for _ in range(40):
            connection.send(b"a" * 10_000)
        reply = connection.reply()
        assert (reply.status, reply.code) == (431, "headers_too_large")
