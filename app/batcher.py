"""The line of waiting inputs and the worker threads that serve it.

Everything here runs on the event loop, but for `run_isolated`, which runs in a worker's thread. A free
worker takes at once what waits. If a worker dies or hangs, every job fails and `serve` ends with the reason.
"""

import asyncio
import itertools
import math
import time
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter

from app.batching import BatchLimits, Reason, Release, take_batch
from app.costs import CostModel
from app.errors import DeadlineExceeded, InferenceFailed, VitrineError, WorkerDied
from app.handoff import run_on
from app.isolation import run_isolated
from app.jobs import Job, Place
from app.models.runner import ModelRunner, Row, TokenizedInput
from app.observer import BatchMember, BatchRecord, Observer, RequestRecord
from app.priorities import step_back

_turn = attrgetter("turn")

QUIET = 2
"""Batches that must have been alone, one after another, for the next to be given all cores."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The batcher's state at one instant."""

    queued_inputs: int
    queued_tokens: int
    executing_inputs: int
    executing_tokens: int
    heartbeat: float
    """When a worker last showed that it lives, `time.monotonic`: it was free, or began or ended a batch."""
    last_success: float | None
    """When a batch last gave a row, `time.monotonic`."""


class Batcher:
    """Owns the line, the jobs' futures and the worker threads."""

    def __init__(
        self,
        runner: ModelRunner,
        limits: BatchLimits,
        observer: Observer,
        *,
        model: str,
        hang_timeout: float = 60.0,
    ) -> None:
        """The runner computes in the workers' threads; a batch of more than `hang_timeout` seconds hangs."""
        self.costs = CostModel()
        self.workers = runner.concurrency
        self.limits = limits
        self._runner = runner
        self._observer = observer
        self._model = model
        self._hang_timeout = hang_timeout
        self._line: list[Place] = []
        self._queued_tokens = 0
        self._served_tokens = 0
        self._executing: dict[int, tuple[float, list[Place]]] = {}
        self._work_waits = asyncio.Event()
        self._threads = [
            ThreadPoolExecutor(1, f"worker-{worker}", initializer=step_back) for worker in range(self.workers)
        ]
        self._in_a_row_alone = 0
        self._batch_ids = itertools.count(1)
        self._dead: WorkerDied | None = None
        # The inputs of a batch when more wait than go into it: fewer than the limit, as lengths are unlike.
        self._crowded_size = float(limits.max_inputs)
        self._heartbeat = time.monotonic()
        self._last_success: float | None = None

    async def submit(
        self, items: Sequence[TokenizedInput], deadline: float, record: RequestRecord | None = None
    ) -> list[Row]:
        """Line the inputs up, wait, and return a row for each, in order.

        Fills in the record's compute stage and batches; without a record nothing is told to the observer.
        Raises the first error among the inputs, `DeadlineExceeded`, or `WorkerDied`. If the caller is
        cancelled, what still waits leaves the line.
        """
        if self._dead:
            raise self._dead
        future = asyncio.get_running_loop().create_future()
        job = Job(future, record, copy_context(), {}, len(items))
        turn = self._served_tokens
        for index, item in enumerate(items):
            insort(self._line, Place(job, index, item, item.tokens, turn, deadline), key=_turn)
            turn += item.tokens
            self._queued_tokens += item.tokens
        self._work_waits.set()
        try:
            await job.future
        finally:
            if job.remaining:
                self._leave({place for place in self._line if place.job is job})
        return [job.rows[index] for index in range(len(items))]

    def ahead_of(self, tokens: int) -> tuple[int, int]:
        """Tokens and inputs that would be served before the end of a newcomer with that many tokens."""
        line = self._line
        behind = bisect_left(line, self._served_tokens + tokens, key=_turn)
        # Asked with each request: of the two parts of the line, the shorter is added up.
        if behind <= len(line) // 2:
            ahead = sum(place.tokens for place in line[:behind])
        else:
            ahead = self._queued_tokens - sum(place.tokens for place in line[behind:])
        executing = [place.tokens for _, batch in self._executing.values() for place in batch]
        return ahead + sum(executing), behind + len(executing)

    def predict(self, tokens: int, inputs: int) -> float:
        """Seconds until all workers together have done that much work, at the measured speed."""
        full = math.ceil(tokens / min(self.limits.max_tokens, self._runner.batch_tokens))
        batches = max(full, math.ceil(inputs / self._crowded_size))
        return self.costs.predict(tokens, batches) / self.workers

    def snapshot(self) -> Snapshot:
        """The state now."""
        executing = [place for _, batch in self._executing.values() for place in batch]
        idle = len(self._executing) < self.workers and not self._dead
        return Snapshot(
            queued_inputs=len(self._line),
            queued_tokens=self._queued_tokens,
            executing_inputs=len(executing),
            executing_tokens=sum(place.tokens for place in executing),
            heartbeat=time.monotonic() if idle else self._heartbeat,
            last_success=self._last_success,
        )

    async def serve(self) -> None:
        """Run the workers until cancelled. Raises `WorkerDied` or `DeviceLost` when one dies or hangs."""
        death: VitrineError = WorkerDied("The worker was stopped.")
        try:
            async with asyncio.TaskGroup() as group:
                for worker in range(self.workers):
                    group.create_task(self._work(worker), name=f"worker-{worker}")
                group.create_task(self._watch(), name="watchdog")
        except* VitrineError as errors:
            death = next(error for error in errors.exceptions if isinstance(error, VitrineError))
        except* Exception as errors:  # noqa: BLE001 - whatever it was, the worker is gone
            death = WorkerDied(f"The worker died of {type(errors.exceptions[0]).__name__}.")
            death.__cause__ = errors.exceptions[0]
        finally:
            self._dead = WorkerDied(death.message)
            jobs = {place.job for place in self._line}
            jobs |= {place.job for _, batch in self._executing.values() for place in batch}
            self._leave(set(self._line))
            for job in jobs:
                job.fail(self._dead)
            for thread in self._threads:
                thread.shutdown(wait=False, cancel_futures=True)
        raise death

    async def _work(self, worker: int) -> None:
        while True:
            await self._work_waits.wait()
            if any(earlier not in self._executing for earlier in range(worker)):
                await asyncio.sleep(0)  # That one takes it: it has been woken, too.
                continue
            started = self._heartbeat = time.monotonic()
            idle = self.workers - len(self._executing)
            release = take_batch(self._line, started, self._batch_limits(), workers=idle)
            self._leave({*release.batch, *release.expired})
            for place in release.expired:
                place.job.fail(DeadlineExceeded("The deadline passed while the input waited in the queue."))
            if not release.batch:
                continue
            alone = self._is_alone(release)
            self._served_tokens += sum(place.tokens for place in release.batch)
            self._executing[worker] = started, release.batch
            items = [place.item for place in release.batch]
            run = partial(self._runner.run, alone=alone)
            results = await run_on(self._threads[worker], run_isolated, run, items)
            self._finish(release, results, started, alone=alone)
            del self._executing[worker]

    def _is_alone(self, release: Release[Place]) -> bool:
        """Whether the batch may have the other workers' cores: it has no company, and the last few had none.

        One that gets company is slower for it than if it had kept to its own core, and so is the company.
        """
        if self.workers == 1:
            return False
        canary = not release.batch[0].job.record  # whose cost is to be that of a batch among others
        company = canary or self._executing or self._line
        self._in_a_row_alone = 0 if company else self._in_a_row_alone + 1
        return self._in_a_row_alone > QUIET

    def _batch_limits(self) -> BatchLimits:
        padding = None
        if self._runner.info.pads:
            padding = max(self.limits.max_padding or 0, self.costs.start_in_tokens())
        tokens = min(self.limits.max_tokens, self._runner.batch_tokens)
        return replace(self.limits, max_tokens=tokens, max_padding=padding)

    def _finish(
        self, release: Release[Place], results: list[Row | InferenceFailed], started: float, *, alone: bool
    ) -> None:
        finished = self._heartbeat = time.monotonic()
        batch = release.batch
        tokens = sum(place.tokens for place in batch)
        failed = sum(isinstance(result, InferenceFailed) for result in results)
        if failed < len(batch):
            self._last_success = finished
        # A batch that was split ran more than once, and one that was alone faster than it would under load.
        if not failed and not alone:
            self.costs.observe(tokens, finished - started)
            if release.reason not in {Reason.DRAINED, Reason.SHARED}:
                self._crowded_size += (len(batch) - self._crowded_size) / 10
        jobs = Counter(place.job for place in batch)
        record = BatchRecord(
            id=next(self._batch_ids),
            model=self._model,
            reason=release.reason,
            inputs=len(batch),
            tokens=tokens,
            padding_tokens=self._padding(batch, tokens),
            started=started,
            finished=finished,
            members=tuple(
                BatchMember(job.record.request_id, inputs, job.context)
                for job, inputs in jobs.items()
                if job.record
            ),
            failed_inputs=failed,
        )
        for job in jobs:
            if job.record:
                job.record.ran_in(record)
        if record.members:
            self._observer.batch_finished(record)
        for place, result in zip(batch, results, strict=True):
            job = place.job
            if isinstance(result, InferenceFailed):
                job.fail(result)
                continue
            job.rows[place.index] = result
            job.remaining -= 1
            if not job.remaining and not job.future.done():
                job.future.set_result(None)

    def _padding(self, batch: list[Place], tokens: int) -> int:
        return max(place.tokens for place in batch) * len(batch) - tokens if self._runner.info.pads else 0

    def _leave(self, places: set[Place]) -> None:
        if places:
            self._line = [place for place in self._line if place not in places]
            self._queued_tokens -= sum(place.tokens for place in places)
        if not self._line:
            self._work_waits.clear()

    async def _watch(self) -> None:
        """A thread cannot be stopped: all one can do about a hang is to notice it."""
        while True:
            await asyncio.sleep(min(1.0, self._hang_timeout / 4))
            now = time.monotonic()
            for started, batch in self._executing.values():
                if now - started > self._hang_timeout:
                    raise WorkerDied(
                        f"A batch of {len(batch)} inputs has run for more than {self._hang_timeout:g} s: "
                        "the worker hangs."
                    )
