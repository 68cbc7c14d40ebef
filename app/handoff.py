"""From the event loop to a thread and back."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Args = TypeVarTuple("Args")


def run_on(thread: Executor, function: Callable[[*Args], T], *args: *Args) -> asyncio.Future[T]:
    """What `function` will return or raise on that thread.

    Like the loop's `run_in_executor`, without the callbacks that link the executor's future to the loop's.
    Cancelling does not keep the function from running, and if the executor drops it (shut down with
    `cancel_futures`, or its initializer failed) the future stays pending.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def work() -> None:
        try:
            result = function(*args)
        except BaseException as error:  # noqa: BLE001 - it is raised where the future is awaited
            loop.call_soon_threadsafe(_unless_done, future, future.set_exception, error)
        else:
            loop.call_soon_threadsafe(_unless_done, future, future.set_result, result)

    thread.submit(work)  # whose future gets the error, unseen, if the loop has ended by then
    return future


def _unless_done(future: asyncio.Future[Any], settle: Callable[[T], None], outcome: T) -> None:
    if not future.done():
        settle(outcome)
