import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app.admission import Admission, AdmissionLimits
from app.batcher import Batcher
from app.context import RequestContext
from app.errors import (
    DeadlineExceeded,
    InferenceFailed,
    InputTooLong,
    ModelNotFound,
    Overloaded,
    TaskNotSupported,
    Unavailable,
    VitrineError,
)
from app.inference import Answer, Inference
from app.models.runner import Task, TextInput
from app.tokenizing import Tokenizing
from tests.fakes import FAIL, FakeRunner, RecordingObserver
from tests.unit.conftest import serving

pytestmark = pytest.mark.anyio
Until = Callable[[Callable[[], bool]], Awaitable[None]]


class Phase:
    refusal: str | None = None


@pytest.fixture
def phase() -> Phase:
    return Phase()


@pytest.fixture
def admission(batcher: Batcher) -> Admission:
    limits = AdmissionLimits(64, 64, 10_000, 100_000, 2.0)
    return Admission(limits, ahead_of=batcher.ahead_of, predict=batcher.predict)


@pytest.fixture
async def inference(
    runner: FakeRunner, batcher: Batcher, admission: Admission, observer: RecordingObserver, phase: Phase
) -> AsyncIterator[Inference]:
    with ThreadPoolExecutor(1) as thread:
        yield Inference(
            runner,
            Tokenizing(runner, thread),
            batcher,
            admission,
            observer,
            name="fake",
            truncate=True,
            refusal=lambda: phase.refusal,
        )


def context(seconds: float = 5.0) -> RequestContext:
    now = time.monotonic()
    return RequestContext("id", now, now + seconds)


def everything(answer: Answer) -> Answer:
    return answer


async def ask(inference: Inference, *texts: str, seconds: float = 5.0) -> Answer:
    inputs = [TextInput(text) for text in texts]
    return await inference.infer(context(seconds), Task.EMBEDDINGS, inputs, everything)


async def test_answers_with_the_rows_and_tells_the_whole_story(
    inference: Inference, batcher: Batcher, runner: FakeRunner, observer: RecordingObserver
) -> None:
    async with serving(batcher):
        answer = await ask(inference, "one two three", "four")
    np.testing.assert_array_equal(answer.rows[0], runner.row("one two three"))
    assert answer.tokens == 4
    (record,) = observer.requests
    assert (record.outcome, record.error) == ("ok", None)
    assert (record.inputs, record.tokens, record.truncated_inputs) == (2, 4, 0)
    stages = record.stages.durations()
    assert list(stages) == ["tokenize", "queue", "compute", "respond"]
    assert sum(stages.values()) <= record.finished - record.arrived


async def test_the_permit_holds_the_real_number_of_tokens(
    inference: Inference, batcher: Batcher, runner: FakeRunner, admission: Admission, until: Until
) -> None:
    runner.hold.clear()
    async with serving(batcher):
        request = asyncio.create_task(ask(inference, "three short words", "one"))
        await until(lambda: batcher.snapshot().executing_inputs == 2)
        assert admission.tokens == 4
        runner.hold.set()
        await request
    assert admission.tokens == 0


async def test_truncation_is_counted(
    inference: Inference, batcher: Batcher, observer: RecordingObserver
) -> None:
    async with serving(batcher):
        await ask(inference, "word " * 300, "short")
    assert observer.requests[0].truncated_inputs == 1


async def test_who_does_not_want_truncation_is_told_of_it(
    inference: Inference, batcher: Batcher, observer: RecordingObserver
) -> None:
    async with serving(batcher):
        with pytest.raises(InputTooLong):
            await inference.infer(
                context(), Task.EMBEDDINGS, [TextInput("word " * 300)], everything, truncate=False
            )
    assert observer.requests[0].outcome == "invalid"


@pytest.mark.parametrize(
    ("task", "model", "error"),
    [(Task.RERANK, None, TaskNotSupported), (Task.EMBEDDINGS, "gpt-4", ModelNotFound)],
)
async def test_what_is_not_served_is_named_with_what_is(
    inference: Inference,
    observer: RecordingObserver,
    task: Task,
    model: str | None,
    error: type[VitrineError],
) -> None:
    with pytest.raises(error, match="fake"):
        await inference.infer(context(), task, [TextInput("a")], everything, model=model)
    assert observer.requests[0].outcome == "invalid"


async def test_refuses_while_starting(
    inference: Inference, observer: RecordingObserver, phase: Phase
) -> None:
    phase.refusal = "starting"
    with pytest.raises(Unavailable):
        await ask(inference, "too early")
    assert (observer.requests[0].outcome, observer.requests[0].reason) == ("rejected", "starting")


async def test_a_deadline_ends_the_wait_and_drops_the_work(
    inference: Inference, batcher: Batcher, runner: FakeRunner, observer: RecordingObserver, until: Until
) -> None:
    runner.hold.clear()
    async with serving(batcher):
        blocker = asyncio.create_task(ask(inference, "blocker"))
        await until(lambda: batcher.snapshot().executing_inputs == 1)
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await ask(inference, "never in time", seconds=0.05)
        assert time.monotonic() - started < 0.3
        runner.hold.set()
        await blocker
    assert [record.outcome for record in observer.requests] == ["expired", "ok"]
    assert runner.batches == [[1]]


async def test_a_caller_that_goes_is_recorded_and_its_permit_given_back(
    inference: Inference,
    batcher: Batcher,
    runner: FakeRunner,
    admission: Admission,
    observer: RecordingObserver,
    until: Until,
) -> None:
    runner.hold.clear()
    async with serving(batcher):
        gone = asyncio.create_task(ask(inference, "a", "b"))
        await until(lambda: batcher.snapshot().executing_inputs == 2)
        assert admission.inputs == 2
        gone.cancel()
        await asyncio.wait({gone})
        assert admission.inputs == 0
        runner.hold.set()
    assert [(record.outcome, record.error) for record in observer.requests] == [("cancelled", "client_gone")]


async def test_refusals_come_before_any_work(
    inference: Inference, batcher: Batcher, runner: FakeRunner, observer: RecordingObserver, until: Until
) -> None:
    runner.hold.clear()
    async with serving(batcher):
        blocker = asyncio.create_task(ask(inference, *["fills the server"] * 60))
        await until(lambda: batcher.snapshot().executing_inputs > 0)
        with pytest.raises(Overloaded):
            await ask(inference, *["one too many"] * 5)
        runner.hold.set()
        await blocker
    refused = observer.requests[0]
    assert (refused.outcome, refused.reason) == ("rejected", "queue_inputs")
    assert refused.stages.tokenize_started is None


async def test_a_failure_has_its_code(
    inference: Inference, batcher: Batcher, observer: RecordingObserver
) -> None:
    async with serving(batcher):
        with pytest.raises(InferenceFailed):
            await ask(inference, FAIL)
    assert (observer.requests[0].outcome, observer.requests[0].error) == ("failed", "inference_failed")


async def test_a_reply_that_cannot_be_written_is_a_failure_too(
    inference: Inference, batcher: Batcher, observer: RecordingObserver
) -> None:
    def broken(_answer: Answer) -> None:
        raise ZeroDivisionError

    async with serving(batcher):
        with pytest.raises(ZeroDivisionError):
            await inference.infer(context(), Task.EMBEDDINGS, [TextInput("a")], broken)
    assert (observer.requests[0].outcome, observer.requests[0].error) == ("failed", "internal_error")
