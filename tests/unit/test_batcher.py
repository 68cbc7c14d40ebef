import asyncio
import time
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from app.batcher import QUIET, Batcher
from app.errors import DeviceLost, InferenceFailed, NonFiniteOutput, WorkerDied
from app.models.runner import Row, TextInput, TokenizedInput
from app.observer import RequestRecord
from tests.fakes import FAIL, NAN, FakeRunner, RecordingObserver
from tests.unit.conftest import LIMITS, serving

pytestmark = pytest.mark.anyio
Until = Callable[[Callable[[], bool]], Awaitable[None]]


def items(runner: FakeRunner, *texts: str) -> list[TokenizedInput]:
    return runner.tokenize([TextInput(text) for text in texts], truncate=True)


def soon() -> float:
    return time.monotonic() + 5


def record() -> RequestRecord:
    return RequestRecord("r", "fake", "embeddings", time.monotonic())


async def submit(batcher: Batcher, runner: FakeRunner, *texts: str) -> list[Row]:
    return await batcher.submit(items(runner, *texts), soon(), record())


async def test_each_caller_gets_the_rows_of_its_own_texts(batcher: Batcher, runner: FakeRunner) -> None:
    async with serving(batcher):
        texts = [f"text number {n} " * (n % 7 + 1) for n in range(200)]
        rows = await asyncio.gather(*(submit(batcher, runner, text) for text in texts))
    for text, (row,) in zip(texts, rows, strict=True):
        np.testing.assert_array_equal(row, runner.row(text))


async def test_a_request_of_many_inputs_gets_its_rows_in_order(batcher: Batcher, runner: FakeRunner) -> None:
    texts = ["word " * (1 + n * 37 % 50) + str(n) for n in range(100)]
    async with serving(batcher):
        rows = await submit(batcher, runner, *texts)
    for text, row in zip(texts, rows, strict=True):
        np.testing.assert_array_equal(row, runner.row(text))


async def test_what_waits_while_a_batch_runs_makes_the_next_batch(
    batcher: Batcher, runner: FakeRunner, until: Until
) -> None:
    runner.hold.clear()
    async with serving(batcher):
        first = asyncio.create_task(submit(batcher, runner, "one"))
        await until(lambda: batcher.snapshot().executing_inputs == 1)
        others = [asyncio.create_task(submit(batcher, runner, f"other {n}")) for n in range(5)]
        await until(lambda: batcher.snapshot().queued_inputs == 5)
        runner.hold.set()
        await asyncio.gather(first, *others)
    assert runner.batches == [[1], [2] * 5]


async def test_workers_share_the_inputs_of_a_request(observer: RecordingObserver) -> None:
    runner = FakeRunner(concurrency=2)
    async with serving(batcher := Batcher(runner, LIMITS, observer, model="fake")):
        await submit(batcher, runner, *["two words"] * 6)
    assert runner.batches == [[2, 2, 2], [2, 2, 2]]
    assert {batch.reason for batch in observer.batches} == {"shared", "drained"}


async def test_a_lone_text_is_not_held_up_by_a_request_with_hundreds(
    batcher: Batcher, runner: FakeRunner, observer: RecordingObserver, until: Until
) -> None:
    runner.hold.clear()
    async with serving(batcher):
        large = asyncio.create_task(submit(batcher, runner, *["five words in each text"] * 400))
        await until(lambda: batcher.snapshot().executing_inputs > 0)
        small = asyncio.create_task(submit(batcher, runner, "five words in this text"))
        await until(lambda: batcher.snapshot().queued_inputs == 400 - LIMITS.max_inputs + 1)
        runner.hold.set()
        await small
        batches_until_small = len(observer.batches)
        await large
    assert batches_until_small <= 4
    assert len(observer.batches) >= 50


async def test_who_is_alone_for_a_while_gets_all_cores(observer: RecordingObserver, until: Until) -> None:
    runner = FakeRunner(concurrency=2)
    async with serving(batcher := Batcher(runner, LIMITS, observer, model="fake")):
        for n in range(QUIET + 2):
            await submit(batcher, runner, f"text {n}")
        assert runner.alone == [False] * QUIET + [True] * 2
        # Company: from then on each keeps to its own core, until it has been quiet again.
        runner.hold.clear()
        first = asyncio.create_task(submit(batcher, runner, "first"))
        await until(lambda: batcher.snapshot().executing_inputs == 1)
        second = asyncio.create_task(submit(batcher, runner, "second"))
        await until(lambda: batcher.snapshot().executing_inputs == 2)
        runner.hold.set()
        await asyncio.gather(first, second)
        await submit(batcher, runner, "after")
        assert sorted(runner.alone[-3:]) == [False, False, True]


async def test_an_only_worker_has_no_more_cores_and_learns_from_each_batch(
    batcher: Batcher, runner: FakeRunner
) -> None:
    async with serving(batcher):
        for _ in range(QUIET + 2):
            await submit(batcher, runner, "text")
    assert runner.alone == [False] * (QUIET + 2)
    assert batcher.predict(1, 1) > 0


async def test_costs_are_learned_from_batches_among_others(observer: RecordingObserver) -> None:
    runner = FakeRunner(start=0.005, concurrency=2)
    async with serving(batcher := Batcher(runner, LIMITS, observer, model="fake")):
        for _ in range(QUIET + 2):
            await batcher.submit(items(runner, "canary"), soon())
        assert runner.alone == [False] * (QUIET + 2)
        runner.start = 0.0
        for _ in range(QUIET):
            await submit(batcher, runner, "text")
        learned = batcher.predict(1, 1)
        for _ in range(20):
            await submit(batcher, runner, "text")
    assert runner.alone[-20:] == [True] * 20
    assert batcher.predict(1, 1) == learned


async def test_only_the_bad_input_of_a_batch_fails(
    batcher: Batcher, runner: FakeRunner, observer: RecordingObserver, until: Until
) -> None:
    runner.hold.clear()
    async with serving(batcher):
        blocker = asyncio.create_task(submit(batcher, runner, "blocker"))
        await until(lambda: batcher.snapshot().executing_inputs == 1)
        texts = ["a a", "b b", f"c {FAIL}", "d d", f"e {NAN}", "f f"]
        tasks = [asyncio.create_task(submit(batcher, runner, text)) for text in texts]
        await until(lambda: batcher.snapshot().queued_inputs == len(texts))
        runner.hold.set()
        await blocker
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [list, list, InferenceFailed, list, NonFiniteOutput, list]
    assert observer.batches[-1].failed_inputs == 2


async def test_an_error_does_not_quote_the_input(batcher: Batcher, runner: FakeRunner) -> None:
    async with serving(batcher):
        with pytest.raises(InferenceFailed) as caught:
            await submit(batcher, runner, f"secret {FAIL}")
    assert "bad" not in caught.value.message
    assert "secret" not in caught.value.message


async def test_a_cancelled_request_is_not_computed(
    batcher: Batcher, runner: FakeRunner, until: Until
) -> None:
    runner.hold.clear()
    async with serving(batcher):
        blocker = asyncio.create_task(submit(batcher, runner, "blocker"))
        await until(lambda: batcher.snapshot().executing_inputs == 1)
        gone = asyncio.create_task(submit(batcher, runner, *["never computed"] * 20))
        await until(lambda: batcher.snapshot().queued_inputs == 20)
        gone.cancel()
        await asyncio.wait({gone})
        assert batcher.snapshot().queued_inputs == 0
        assert batcher.snapshot().queued_tokens == 0
        runner.hold.set()
        await blocker
        await submit(batcher, runner, "next")
    assert runner.batches == [[1], [1]]


async def test_the_record_says_when_and_with_whom(
    batcher: Batcher, runner: FakeRunner, observer: RecordingObserver
) -> None:
    mine = record()
    async with serving(batcher):
        before = time.monotonic()
        await batcher.submit(items(runner, "a text", "another text"), soon(), mine)
    (batch,) = mine.batches
    assert observer.batches == [batch]
    assert (batch.inputs, batch.tokens, batch.padding_tokens) == (2, 4, 0)
    assert [(member.request_id, member.inputs) for member in batch.members] == [("r", 2)]
    assert mine.stages.compute_started is not None
    assert mine.stages.computed is not None
    assert before <= mine.stages.compute_started <= mine.stages.computed


async def test_a_canary_is_not_told_to_the_observer(
    batcher: Batcher, runner: FakeRunner, observer: RecordingObserver
) -> None:
    async with serving(batcher):
        await batcher.submit(items(runner, "canary"), soon())
    assert observer.batches == []
    assert batcher.snapshot().last_success is not None


async def test_a_lost_device_fails_every_job_and_ends_the_worker(
    batcher: Batcher, runner: FakeRunner, until: Until
) -> None:
    runner.hold.clear()
    runner.dies_of = DeviceLost("the device fell off the bus")
    async with serving(batcher) as worker:
        tasks = [asyncio.create_task(submit(batcher, runner, f"text {n}")) for n in range(20)]
        await until(lambda: batcher.snapshot().queued_inputs > 0)
        runner.hold.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(result) for result in results} == {WorkerDied}
        with pytest.raises(DeviceLost):
            await worker
        with pytest.raises(WorkerDied):
            await submit(batcher, runner, "too late")


async def test_a_hanging_worker_fails_every_job(batcher: Batcher, runner: FakeRunner) -> None:
    runner.hold.clear()
    async with serving(batcher) as worker:
        with pytest.raises(WorkerDied, match="hangs"):
            await submit(batcher, runner, "hangs")
        with pytest.raises(WorkerDied):
            await worker
    runner.hold.set()


async def test_the_measured_speed_follows_the_runner(observer: RecordingObserver) -> None:
    runner = FakeRunner(start=0.002, per_token=0.0005)
    batcher = Batcher(runner, LIMITS, observer, model="fake")
    async with serving(batcher):
        for words in (1, 5, 10, 20, 40, 40, 20, 10, 5, 1):
            await submit(batcher, runner, "word " * words)
    assert batcher.predict(400, 8) == pytest.approx(0.202, rel=0.3)
