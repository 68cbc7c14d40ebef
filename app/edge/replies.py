"""Every reply that the edge itself gives, in OpenAI's error envelope. None holds what the client sent."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import Send

from app.edge.limits import EdgeLimits

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reply that says what is wrong and what to change.

    `code` is for programs, `message` for people; `param` names the header that is at fault, if one is.
    """

    status: HTTPStatus
    code: str
    message: str
    param: str | None = None
    headers: Headers = ()

    def body(self) -> bytes:
        """`{"error": {"message", "type", "code", "param"}}` as UTF-8."""
        kind = "invalid_request_error" if self.status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
        error = {"message": self.message, "type": kind, "code": self.code, "param": self.param}
        return json.dumps({"error": error}).encode()

    def http1(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The whole HTTP/1.1 response, which closes the connection; `headers` are the server's own."""
        body = self.body()
        fields = {**dict(headers), **dict(self._headers(body)), b"connection": b"close"}
        lines = [b"HTTP/1.1 %d %b" % (self.status, self.status.phrase.encode())]
        lines += [name + b": " + value for name, value in fields.items()]
        return b"\r\n".join([*lines, b"", body])

    async def send(self, send: Send) -> None:
        """Send it as an ASGI response."""
        body = self.body()
        await send({"type": "http.response.start", "status": self.status, "headers": self._headers(body)})
        await send({"type": "http.response.body", "body": body})

    def _headers(self, body: bytes) -> list[tuple[bytes, bytes]]:
        length = (b"content-length", b"%d" % len(body))
        return [(b"content-type", b"application/json"), length, *self.headers]


class Refused(Exception):
    """Ends the reading of a request with a reply."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


RETRY_SOON: Headers = ((b"retry-after", b"1"),)

INVALID_TARGET = Refusal(
    HTTPStatus.BAD_REQUEST,
    "invalid_target",
    "The request target must be a path that starts with a slash, percent-encoded where it isn't plain ASCII.",
)
NO_TUNNEL = Refusal(
    HTTPStatus.NOT_IMPLEMENTED,
    "connect_not_supported",
    "This server is no proxy: use another method than CONNECT.",
)
INVALID_API_KEY = Refusal(
    HTTPStatus.UNAUTHORIZED,
    "invalid_api_key",
    "This server wants an API key; send one that it knows in the header `Authorization: Bearer <key>`.",
    param="authorization",
    headers=((b"www-authenticate", b"Bearer"),),
)
UNSUPPORTED_ENCODING = Refusal(
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "unsupported_content_encoding",
    "The header Content-Encoding must be gzip, deflate or identity, and only one of them.",
    param="content-encoding",
    headers=((b"accept-encoding", b"gzip, deflate, identity"),),
)


def malformed(reason: str) -> Refusal:
    """The request isn't HTTP/1.1; `reason` is the parser's, which says what it expected."""
    return Refusal(HTTPStatus.BAD_REQUEST, "malformed_request", f"This is not valid HTTP/1.1: {reason}.")


def invalid_compression(how: str) -> Refusal:
    """The body isn't what its Content-Encoding says; `how` tells the difference."""
    return Refusal(
        HTTPStatus.BAD_REQUEST,
        "invalid_compressed_body",
        f"The compressed body {how}; send one complete stream of the kind that Content-Encoding names.",
        param="content-encoding",
    )


class LimitReplies:
    """One reply for each limit that a client can pass."""

    def __init__(self, limits: EdgeLimits) -> None:
        self.target_too_long = Refusal(
            HTTPStatus.REQUEST_URI_TOO_LONG,
            "target_too_long",
            f"Path and query may have {limits.max_target_bytes} bytes; send the input in the request body.",
        )
        self.headers_too_large = Refusal(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers_too_large",
            f"The headers may have {limits.max_header_bytes} bytes in all; send fewer or shorter ones.",
        )
        self.too_many_headers = Refusal(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            "too_many_headers",
            f"A request may have {limits.max_header_count} headers; send fewer.",
        )
        self.headers_too_slow = Refusal(
            HTTPStatus.REQUEST_TIMEOUT,
            "header_timeout",
            f"The headers were not complete within {limits.header_timeout:g} s; send them in one go.",
        )
        self.too_many_pipelined = Refusal(
            HTTPStatus.TOO_MANY_REQUESTS,
            "too_many_pipelined",
            f"Of one connection {limits.max_pipelined} requests may wait for answers; open more connections.",
            headers=RETRY_SOON,
        )
        self.too_many_connections = Refusal(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "too_many_connections",
            f"All {limits.max_connections} connections of this server are busy; retry, or reuse one.",
            headers=RETRY_SOON,
        )
        self.body_too_large = Refusal(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "body_too_large",
            f"A body may have {limits.max_body_bytes} bytes, decompressed too; send fewer or shorter inputs.",
        )
        self.body_too_slow = Refusal(
            HTTPStatus.REQUEST_TIMEOUT,
            "body_timeout",
            f"The body was not complete within {limits.body_timeout:g} s; send it faster, or less.",
            headers=((b"connection", b"close"),),
        )
