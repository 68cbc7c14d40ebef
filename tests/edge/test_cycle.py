"""An answer of known length goes out in one go, in the bytes that uvicorn would have written."""

import asyncio
import logging
from typing import Any
from unittest.mock import Mock

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from app.edge.cycle import Cycle

pytestmark = pytest.mark.anyio


class Transport:
    """Takes what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def writelines(self, parts: list[bytes]) -> None:
        self.written.append(b"".join(parts))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    @property
    def message(self) -> tuple[set[bytes], bytes]:
        """The head's lines, and the rest."""
        head, _, body = b"".join(self.written).partition(b"\r\n\r\n")
        return set(head.split(b"\r\n")), body


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


THREE = (b"content-length", b"3")
ANSWERS: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
    ({}, [start(THREE, (b"x-request-id", b"1")), body(b"abc")]),
    ({}, [start((b"content-length", b"0"), status=429), body(b"")]),
    ({}, [start(THREE), body(b"a", more=True), body(b"bc")]),
    ({}, [start(), body(b"abc")]),
    ({}, [start(THREE, (b"connection", b"Close")), body(b"abc")]),
    ({"keep_alive": False}, [start(THREE), body(b"abc")]),
    ({"method": "HEAD"}, [start(THREE), body(b"abc")]),
    ({"method": "HEAD"}, [start(THREE), body(b"")]),
]


async def answer(
    kind: type[RequestResponseCycle],
    messages: list[dict[str, Any]],
    *,
    method: str = "POST",
    keep_alive: bool = True,
) -> tuple[Transport, RequestResponseCycle, Mock]:
    transport, on_response = Transport(), Mock()
    cycle = kind(
        scope={"type": "http", "method": method},  # type: ignore[typeddict-item]  # as much of it as is looked at
        transport=transport,  # type: ignore[arg-type]  # it writes and closes, which is all that is asked of it
        flow=FlowControl(transport),  # type: ignore[arg-type]  # likewise
        logger=logging.getLogger("uvicorn.error"),
        access_logger=logging.getLogger("uvicorn.access"),
        access_log=False,
        default_headers=[(b"date", b"today")],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=keep_alive,
        on_response=on_response,
    )

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    await cycle.run_asgi(app)
    return transport, cycle, on_response


@pytest.mark.parametrize(("request_", "messages"), ANSWERS)
async def test_the_bytes_are_uvicorns(request_: dict[str, Any], messages: list[dict[str, Any]]) -> None:
    theirs, their_cycle, _ = await answer(RequestResponseCycle, messages, **request_)
    ours, our_cycle, on_response = await answer(Cycle, messages, **request_)
    connection = {b"connection: close"}
    assert {line.lower() for line in ours.message[0]} | connection == (
        {line.lower() for line in theirs.message[0]} | connection
    )
    assert (b"connection: close" in ours.message[0]) is theirs.closed
    assert (ours.message[1], ours.closed) == (theirs.message[1], theirs.closed)
    assert our_cycle.response_complete
    assert their_cycle.response_complete
    on_response.assert_called_once()


async def test_they_are_written_at_once() -> None:
    transport, *_ = await answer(Cycle, ANSWERS[0][1])
    assert len(transport.written) == 1


@pytest.mark.parametrize(
    "messages",
    [
        [start(THREE, (b"x", b"a\r\nset-cookie: b")), body(b"abc")],
        [start(THREE, (b"x", b"a\0")), body(b"abc")],
        [start(THREE), body(b"abcd")],
        [start(THREE), body(b"ab")],
        [start(THREE)],
    ],
)
async def test_what_is_no_proper_answer_is_the_applications_failure(
    messages: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    transport, cycle, _ = await answer(Cycle, messages)
    assert b"HTTP/1.1 500 Internal Server Error" in transport.message[0]
    assert transport.message[1] == b"Internal Server Error"
    assert cycle.response_complete
    assert transport.closed
    assert len(caplog.records) == 1


async def test_what_is_no_message_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    nothing = (b"content-length", b"0")
    transport, cycle, _ = await answer(Cycle, [start(nothing), {"type": "nonsense"}])
    assert transport.closed
    assert not cycle.response_complete
    assert "nonsense" in caplog.text
