import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from app.batcher import Batcher
from app.batching import BatchLimits
from tests.fakes import FakeRunner, RecordingObserver

LIMITS = BatchLimits(max_inputs=8, max_tokens=400, max_padding=16)


@asynccontextmanager
async def serving(batcher: Batcher) -> AsyncIterator[asyncio.Task[None]]:
    """The batcher with its workers at work."""
    task = asyncio.create_task(batcher.serve())
    await asyncio.sleep(0)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def observer() -> RecordingObserver:
    return RecordingObserver()


@pytest.fixture
def batcher(runner: FakeRunner, observer: RecordingObserver) -> Batcher:
    return Batcher(runner, LIMITS, observer, model="fake", hang_timeout=0.4)


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], object]:
    """Wait for a condition, for two seconds at most."""

    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(2):
            while not condition():
                await asyncio.sleep(0.002)

    return wait
