"""API keys: who has none is turned away before the body is read."""

import hmac
from collections.abc import Collection
from hashlib import sha256

from starlette.types import ASGIApp, Receive, Scope, Send

from app.edge.replies import INVALID_API_KEY


class ApiKeys:
    """The keys that the API takes."""

    def __init__(self, keys: Collection[str]) -> None:
        if not keys or not all(keys):
            raise ValueError("keys: wants at least one key, none of them empty")
        # Digests are all of one length, so that not even a key's length can be timed.
        self._digests = [sha256(key.encode()).digest() for key in keys]

    def accept(self, scope: Scope) -> bool:
        """Whether the request bears one of them."""
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1:
            return False
        scheme, _, token = given[0].partition(b" ")
        digest = sha256(token.strip()).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._digests]  # all, whichever fits
        return scheme.lower() == b"bearer" and any(matches)


class ApiKeyMiddleware:
    """Let through requests that bear a key, and all to the paths in `exempt`; 401 to the others."""

    def __init__(self, app: ASGIApp, keys: ApiKeys, exempt: Collection[str] = ()) -> None:
        self.app = app
        self._keys = keys
        self._exempt = frozenset(exempt)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan" or scope["path"] in self._exempt or self._keys.accept(scope):
            await self.app(scope, receive, send)
        else:
            await INVALID_API_KEY.send(send)
