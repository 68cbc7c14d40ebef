"""Facts told a little later, many at once.

A model's weights go through the processor's caches between one request and the next. Told alone, each fact
finds its observers' code and data gone from there, and costs more than after another of its kind.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context

from starlette.types import ASGIApp, Receive, Scope, Send

from app.observer import BatchRecord, HttpRecord, Observer, RequestRecord

DELAY = 0.05
"""Seconds that a fact waits at most."""

AT_ONCE = 16
"""Facts that are told one after another: then the event loop first sees to what else waits for it."""

MOST = 256
"""Facts that wait at most."""


class Deferred:
    """An observer that passes the facts on to another, in order, each in the context that it was told in."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._waiting: deque[tuple[Context, Callable[[], None]]] = deque()
        self._next: asyncio.Handle | None = None

    def http_finished(self, record: HttpRecord) -> None:
        """Pass it on later."""
        self.later(lambda: self._observer.http_finished(record))

    def request_finished(self, record: RequestRecord) -> None:
        """Pass it on later."""
        self.later(lambda: self._observer.request_finished(record))

    def batch_finished(self, record: BatchRecord) -> None:
        """Pass it on later."""
        self.later(lambda: self._observer.batch_finished(record))

    def later(self, tell: Callable[[], None]) -> None:
        """Call it when the facts before it have been told."""
        self._waiting.append((copy_context(), tell))
        if len(self._waiting) >= MOST:
            self.catch_up()
        elif self._next is None:
            self._next = asyncio.get_running_loop().call_later(DELAY, self._tell_some)

    def catch_up(self) -> None:
        """Tell all that waits."""
        if self._next:
            self._next.cancel()
            self._next = None
        self._tell(len(self._waiting))

    def _tell_some(self) -> None:
        self._next = None
        try:
            self._tell(min(AT_ONCE, len(self._waiting)))
        finally:
            if self._waiting and self._next is None:
                self._next = asyncio.get_running_loop().call_soon(self._tell_some)

    def _tell(self, facts: int) -> None:
        for _ in range(facts):
            context, tell = self._waiting.popleft()
            context.run(tell)

    def caught_up(self, app: ASGIApp) -> ASGIApp:
        """The application, but when it is asked something, all facts have been told."""

        async def ask(scope: Scope, receive: Receive, send: Send) -> None:
            self.catch_up()
            await app(scope, receive, send)

        return ask
