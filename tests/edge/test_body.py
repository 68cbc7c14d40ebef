"""Bodies: their size, their compression."""

import gzip
import hashlib
import tracemalloc
import zlib

import pytest

from tests.edge.server import Edge, Reply

TEXT = b"Vitrine " * 1000
LIMIT = 200_000


def post(edge: Edge, body: bytes, *headers: bytes) -> Reply:
    lines = [b"POST /ok HTTP/1.1", b"Content-Length: %d" % len(body), *headers, b"", body]
    return edge.ask(b"\r\n".join(lines))


def chunked(body: bytes, size: int) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def raw_deflate(body: bytes) -> bytes:
    encoder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return encoder.compress(body) + encoder.flush()


def test_a_body_of_the_limit_is_taken_and_one_byte_more_is_not(edge: Edge) -> None:
    assert post(edge, b"a" * LIMIT).json()["size"] == LIMIT
    reply = post(edge, b"a" * (LIMIT + 1))
    assert (reply.status, reply.code) == (413, "body_too_large")
    assert str(LIMIT) in reply.json()["error"]["message"]


def test_the_announced_length_is_refused_before_the_body_comes(edge: Edge) -> None:
    reply = edge.ask(b"POST /ok HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n")
    assert reply.status == 413


@pytest.mark.parametrize("size", [1, 7000])
def test_a_chunked_body_arrives_whole(edge: Edge, size: int) -> None:
    reply = edge.ask(b"POST /ok HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(TEXT, size))
    assert reply.json()["sha256"] == hashlib.sha256(TEXT).hexdigest()


def test_a_chunked_body_over_the_limit_is_refused_while_it_comes(edge: Edge) -> None:
    with edge.connect() as connection:
        connection.send(b"POST /ok HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(30):
            connection.send(b"2710\r\n" + b"a" * 10_000 + b"\r\n")
        reply = connection.reply()
        assert (reply.status, reply.code) == (413, "body_too_large")
        connection.send(b"0\r\n\r\n")
        assert connection.ask(b"GET /ok HTTP/1.1\r\n\r\n").status == 200


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"gzip", gzip.compress(TEXT)),
        (b"X-GZIP", gzip.compress(TEXT)),
        (b"deflate", zlib.compress(TEXT)),
        (b"deflate", raw_deflate(TEXT)),
        (b"identity", TEXT),
    ],
    ids=["gzip", "x-gzip", "zlib", "raw-deflate", "identity"],
)
@pytest.mark.parametrize("in_chunks", [False, True])
def test_a_compressed_body_arrives_plain(edge: Edge, encoding: bytes, body: bytes, in_chunks: bool) -> None:
    coding = b"Content-Encoding: " + encoding
    if in_chunks:
        head = b"POST /ok HTTP/1.1\r\nTransfer-Encoding: chunked\r\n%b\r\n\r\n" % coding
        reply = edge.ask(head + chunked(body, 100))
    else:
        reply = post(edge, body, coding)
    seen = reply.json()
    assert seen["sha256"] == hashlib.sha256(TEXT).hexdigest()
    if encoding != b"identity":
        assert seen["headers"] == [["content-length", str(len(TEXT))]]


def test_an_empty_text_may_be_compressed(edge: Edge) -> None:
    assert post(edge, gzip.compress(b""), b"Content-Encoding: gzip").json()["size"] == 0


def test_the_limit_holds_after_decompression(edge: Edge) -> None:
    assert post(edge, gzip.compress(b"a" * LIMIT), b"Content-Encoding: gzip").json()["size"] == LIMIT
    assert post(edge, gzip.compress(b"a" * (LIMIT + 1)), b"Content-Encoding: gzip").status == 413


@pytest.mark.parametrize(("encoding", "wbits"), [(b"gzip", 31), (b"deflate", 15)])
def test_a_decompression_bomb_costs_no_memory(edge: Edge, encoding: bytes, wbits: int) -> None:
    encoder = zlib.compressobj(9, wbits=wbits)
    bomb = b"".join(encoder.compress(bytes(2**20)) for _ in range(100)) + encoder.flush()
    assert len(bomb) < LIMIT
    tracemalloc.start()
    try:
        reply = post(edge, bomb, b"Content-Encoding: " + encoding)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (reply.status, reply.code) == (413, "body_too_large")
    assert peak < 10 * LIMIT


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"gzip", TEXT),
        (b"gzip", gzip.compress(TEXT)[:-1]),
        (b"gzip", gzip.compress(TEXT)[:-8] + b"\0" * 8),
        (b"gzip", gzip.compress(TEXT) + b"x"),
        (b"gzip", zlib.compress(TEXT)),
        (b"deflate", zlib.compress(TEXT)[:-1]),
        (b"deflate", zlib.compress(TEXT) + b"x"),
        (b"deflate", b"x"),
        (b"deflate", b"\xff\xff\xff"),
    ],
    ids=["plain", "cut", "checksum", "trailing", "zlib", "zlib cut", "zlib trailing", "letter", "rubbish"],
)
def test_a_broken_compressed_body_gets_400(edge: Edge, encoding: bytes, body: bytes) -> None:
    reply = post(edge, body, b"Content-Encoding: " + encoding)
    assert (reply.status, reply.code) == (400, "invalid_compressed_body")


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"gzip, gzip", b"", b"\xff"])
def test_an_unknown_encoding_gets_415(edge: Edge, encoding: bytes) -> None:
    reply = post(edge, TEXT, b"Content-Encoding: " + encoding)
    assert (reply.status, reply.code) == (415, "unsupported_content_encoding")
    assert "gzip" in reply.headers["accept-encoding"]


def test_a_client_that_expects_100_is_told_to_continue(edge: Edge) -> None:
    with edge.connect() as connection:
        head = b"POST /ok HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        assert connection.ask(head).status == 100
        assert connection.ask(b"abc").json()["size"] == 3


def test_a_client_that_expects_100_for_too_much_is_told_at_once(edge: Edge) -> None:
    head = b"POST /ok HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n"
    assert edge.ask(head).status == 413
