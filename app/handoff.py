"""From the event loop to a thread and back."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Args = TypeVarTuple("Args")


def run_on(thread: Executor, function: Callable[[*Args], T], *args: *Args) -> asyncio.Future[T]:
    """What `function` will return or raise on that thread.

    Like the loop's `run_in_executor`, which links two futures, each with its callbacks and locks, where one
    will do. Cancelling the future does not keep the function from running.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def work() -> None:
        try:
            settle = partial(future.set_result, function(*args))
        except BaseException as error:  # noqa: BLE001 - it is raised where the future is awaited
            settle = partial(future.set_exception, error)
        with suppress(RuntimeError):  # the loop has ended, and nobody waits
            loop.call_soon_threadsafe(_unless_done, future, settle)

    thread.submit(work)
    return future


def _unless_done(future: asyncio.Future[T], settle: Callable[[], None]) -> None:
    if not future.done():
        settle()
