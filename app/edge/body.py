"""Request bodies: whole, plain and of bounded size before the application hears of the request."""

import zlib

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.edge.disconnect import EXTENSION, Client
from app.edge.limits import EdgeLimits
from app.edge.replies import UNSUPPORTED_ENCODING, LimitReplies, Refused, invalid_compression

IDENTITY = b"identity"
GZIP = (b"gzip", b"x-gzip")
ENCODINGS = (IDENTITY, b"deflate", *GZIP)


class BodyMiddleware:
    """Read the body, at most `max_body_bytes` of it, decode it, and hand it on in one message.

    Replies 408 (too slow, by `EdgeProtocol`'s clock), 413 (too large, as sent or decoded), 415 (a
    Content-Encoding other than gzip, deflate and identity) and 400 (a compressed body that is broken, cut
    short or followed by more bytes). If the client goes before its body is complete, the application isn't
    called.

    Starlette's own body limit counts what the application reads and stops it with an exception: it knows no
    compression, and its reply isn't ours.
    """

    def __init__(self, app: ASGIApp, limits: EdgeLimits) -> None:
        self.app = app
        self._limits = limits
        self._replies = LimitReplies(limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = dict(scope["headers"]) if scope["type"] == "http" else {}
        length = int(headers.get(b"content-length", 0))
        if not length and b"transfer-encoding" not in headers:  # in HTTP/1.1 that is: no body
            await self.app(scope, receive, send)
            return
        encoding = headers.get(b"content-encoding", IDENTITY).lower()
        try:
            if encoding not in ENCODINGS:
                raise Refused(UNSUPPORTED_ENCODING)
            if length > self._limits.max_body_bytes:
                raise Refused(self._replies.body_too_large)
            body = await self._read(scope, receive)
            if body is None:
                return
            if encoding != IDENTITY:
                body = self._inflate(body, encoding)
                # In place: what the application puts into the scope, such as its route, is read further out.
                scope["headers"] = _plain(scope["headers"], len(body))
        except Refused as refused:
            await refused.refusal.send(send)
            return
        await self.app(scope, _replay(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body as it was sent, or None if the client has gone."""
        client: Client | None = scope.get("extensions", {}).get(EXTENSION)
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            part = message.get("body", b"")
            size += len(part)
            if size > self._limits.max_body_bytes:
                raise Refused(self._replies.body_too_large)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)  # of a single part, that part itself
            if client is not None and client.late:
                raise Refused(self._replies.body_too_slow)

    def _inflate(self, body: bytes, encoding: bytes) -> bytes:
        """Decode one gzip member or one deflate stream."""
        decoder = zlib.decompressobj(zlib.MAX_WBITS + 16 if encoding in GZIP else _deflate_wbits(body))
        try:
            plain = decoder.decompress(body, self._limits.max_body_bytes + 1)
        except zlib.error:
            raise Refused(invalid_compression("is broken")) from None
        if len(plain) > self._limits.max_body_bytes:
            raise Refused(self._replies.body_too_large)
        if not decoder.eof:
            raise Refused(invalid_compression("is cut short"))
        if decoder.unused_data:
            raise Refused(invalid_compression("is followed by more bytes"))
        return plain


def _deflate_wbits(body: bytes) -> int:
    # By RFC 9110 deflate is the zlib format, but some clients send the bare stream. A zlib header is told by
    # its method and check bits (RFC 1950).
    wrapped = body[:1] and body[0] & 0x0F == zlib.DEFLATED and int.from_bytes(body[:2]) % 31 == 0
    return zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS


def _plain(headers: list[tuple[bytes, bytes]], length: int) -> list[tuple[bytes, bytes]]:
    stale = (b"content-encoding", b"content-length", b"transfer-encoding")
    return [*(header for header in headers if header[0] not in stale), (b"content-length", b"%d" % length)]


def _replay(body: bytes, receive: Receive) -> Receive:
    pending: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def replay() -> Message:
        nonlocal pending
        if pending is None:
            return await receive()
        message, pending = pending, None
        return message

    return replay
