"""Bytes that nobody would think of: never a 500, never an error in the log, and the server still answers."""

import contextlib
import socket

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.edge.server import Edge

LINES = [
    b"GET / HTTP/1.1",
    b"POST /a?b=c HTTP/1.1",
    b"HEAD /livez HTTP/1.0",
    b"OPTIONS * HTTP/1.1",
    b"Host: localhost",
    b"Content-Length: 5",
    b"Content-Length: 0",
    b"Transfer-Encoding: chunked",
    b"Connection: close",
    b"Connection: upgrade",
    b"Upgrade: h2c",
    b"Content-Encoding: gzip",
    b"Expect: 100-continue",
    b"",
    b"",
    b"5",
    b"hello",
    b"0",
]
part = st.one_of(
    st.sampled_from(LINES).map(lambda line: line + b"\r\n"),
    st.sampled_from([b"\r\n", b"\n", b"\r", b" ", b":", b"\0", b"\xff", b"%"]),
    st.binary(max_size=20),
)


def mutate(base: bytes, edits: list[tuple[int, bytes]]) -> bytes:
    for place, new in edits:
        start = place % (len(base) + 1)
        base = base[:start] + new + base[start + len(new) // 2 :]
    return base


valid = st.sampled_from(
    [
        b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n\r\n",
        b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        b"POST /a HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello",
    ]
)
requests = st.one_of(
    st.lists(part, max_size=12).map(b"".join),
    st.builds(mutate, valid, st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=4)), max_size=3)),
    st.builds(bytes.__add__, valid, st.lists(part, max_size=6).map(b"".join)),
)


@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=requests, cut=st.integers(0, 100))
def test_raw_bytes(edge: Edge, data: bytes, cut: int) -> None:
    with edge.connect() as connection:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.send(data[:cut])
        connection.send(data[cut:])
        with contextlib.suppress(OSError):
            connection.socket.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while received := connection.socket.recv(65536):
                answer += received
    assert b"HTTP/1.1 500" not in answer
    assert edge.serves()
