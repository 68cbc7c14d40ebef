"""Stop working for a caller that has gone.

    async with cancel_on_disconnect(request.scope, request.receive):
        result = await answer()

Enter it when the body has been read. If the connection is lost inside, the block is cancelled and
`starlette.requests.ClientDisconnect` raised in its place; nothing that is sent then reaches anybody, so its
handler may reply with anything.

`EdgeProtocol` says in the scope who is connected, which costs a request no task. Under another server, or a
middleware that builds a new scope, a task waits on `receive` instead.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

EXTENSION = "vitrine.client"


class Client:
    """The other end of one connection."""

    __slots__ = ("gone", "late", "watchers")

    def __init__(self) -> None:
        self.gone = False
        self.late = False  # with the rest of the body
        self.watchers: set[Callable[[], None]] = set()

    def leave(self) -> None:
        """The connection is lost: tell who watches."""
        self.gone = True
        for watcher in tuple(self.watchers):
            watcher()


class cancel_on_disconnect:  # noqa: N801 - used like a function; written out, as a generator costs more
    """Cancel the block when the client closes the connection, and raise `ClientDisconnect`."""

    __slots__ = ("_block", "_client", "_listener", "_receive")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._client: Client | None = scope.get("extensions", {}).get(EXTENSION)
        self._receive = receive
        self._listener: asyncio.Task[None] | None = None
        # A timeout without a deadline, which the disconnect makes due: cancelling right is asyncio's affair.
        self._block = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        if self._client is not None and self._client.gone:
            raise ClientDisconnect
        await self._block.__aenter__()
        if self._client is not None:
            self._client.watchers.add(self._cancel)
        else:
            self._listener = asyncio.create_task(_listen(self._receive, self._cancel))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.watchers.discard(self._cancel)
        elif self._listener is not None:
            self._listener.cancel()
        try:
            await self._block.__aexit__(kind, error, traceback)
        except TimeoutError:
            raise ClientDisconnect from None

    def _cancel(self) -> None:
        self._block.reschedule(asyncio.get_running_loop().time())


async def _listen(receive: Receive, cancel: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    cancel()
