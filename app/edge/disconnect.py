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
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

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


@asynccontextmanager
async def cancel_on_disconnect(scope: Scope, receive: Receive) -> AsyncIterator[None]:
    """Cancel the block when the client closes the connection, and raise `ClientDisconnect`."""
    client: Client | None = scope.get("extensions", {}).get(EXTENSION)
    if client is not None and client.gone:
        raise ClientDisconnect
    loop = asyncio.get_running_loop()
    # A timeout without a deadline, which the disconnect makes due: cancelling right is asyncio's affair.
    block = asyncio.timeout(None)

    def cancel() -> None:
        block.reschedule(loop.time())

    try:
        async with block:
            if client is not None:
                client.watchers.add(cancel)
                try:
                    yield
                finally:
                    client.watchers.discard(cancel)
            else:
                listener = asyncio.create_task(_listen(receive, cancel))
                try:
                    yield
                finally:
                    listener.cancel()
    except TimeoutError:
        if not block.expired():
            raise
        raise ClientDisconnect from None


async def _listen(receive: Receive, cancel: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    cancel()
