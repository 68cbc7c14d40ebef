import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.handoff import run_on

pytestmark = pytest.mark.anyio


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as thread:
        yield thread


async def test_what_the_function_returns_on_that_thread(thread: ThreadPoolExecutor) -> None:
    there = await run_on(thread, threading.get_ident)
    assert there != threading.get_ident()
    assert there == await run_on(thread, threading.get_ident)
    assert await run_on(thread, divmod, 7, 2) == (3, 1)


async def test_what_the_function_raises(thread: ThreadPoolExecutor) -> None:
    with pytest.raises(ZeroDivisionError):
        await run_on(thread, divmod, 7, 0)


async def test_one_who_no_longer_waits_is_not_told(
    thread: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    hold = threading.Event()
    given_up = run_on(thread, hold.wait)
    given_up.cancel()
    hold.set()
    assert await run_on(thread, int) == 0
    await asyncio.sleep(0)
    assert given_up.cancelled()
    assert not caplog.records
