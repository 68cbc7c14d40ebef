"""The seam to telemetry: three facts, told once each, as plain data.

The core calls an `Observer`; `app.telemetry` turns the facts into metrics, spans and log lines. All
instants are seconds of `time.monotonic`.
"""

from collections.abc import Iterable
from contextvars import Context
from dataclasses import dataclass, field
from typing import Protocol

from app.errors import Outcome


@dataclass(frozen=True, slots=True)
class BatchMember:
    """A request with inputs in a batch."""

    request_id: str
    inputs: int
    context: Context
    """The request's context as it was when it lined up: a tracer finds its span there."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class BatchRecord:
    """One forward pass and who was in it. Equal to itself alone, so that an observer can keep notes on it."""

    id: int
    model: str
    reason: str
    """Why the batch was let go when it was: see `app.batching.Reason`."""
    inputs: int
    tokens: int
    padding_tokens: int
    started: float
    finished: float
    members: tuple[BatchMember, ...]
    failed_inputs: int = 0


STAGES = ("tokenize", "queue", "compute", "respond")


@dataclass(slots=True)
class Stages:
    """When a request passed each stage; None where it did not get that far."""

    tokenize_started: float | None = None
    queued: float | None = None
    compute_started: float | None = None
    computed: float | None = None
    responded: float | None = None

    def durations(self) -> dict[str, float]:
        """Seconds for each of `STAGES` that was passed."""
        durations: dict[str, float] = {}
        start = self.tokenize_started
        ends = self.queued, self.compute_started, self.computed, self.responded
        for name, end in zip(STAGES, ends, strict=True):
            if start is None or end is None:
                break
            durations[name] = end - start
            start = end
        return durations


@dataclass(slots=True)
class RequestRecord:
    """One inference request, filled in as it goes and told to the observer when it ends, however it ends."""

    request_id: str
    model: str
    task: str
    arrived: float
    finished: float = 0.0
    outcome: Outcome = "failed"
    error: str | None = None
    """The error's code, None if all went well."""
    reason: str | None = None
    """Why it was rejected, for `outcome == "rejected"`."""
    inputs: int = 0
    tokens: int = 0
    truncated_inputs: int = 0
    stages: Stages = field(default_factory=Stages)
    batches: list[BatchRecord] = field(default_factory=list)
    """The batches that its inputs ran in, in order of time."""

    def ran_in(self, batch: BatchRecord) -> None:
        """Some of its inputs were in `batch`. Compute lasts from the first's start to the last's end."""
        self.batches.append(batch)
        if self.stages.compute_started is None:
            self.stages.compute_started = batch.started
        self.stages.computed = batch.finished


@dataclass(frozen=True, slots=True)
class HttpRecord:
    """One HTTP exchange on the API port, probes left out."""

    method: str
    route: str
    """The route's template, `unmatched` where none matched."""
    status: int
    request_id: str
    started: float
    finished: float
    inference: RequestRecord | None
    """The inference that the exchange carried, if it got that far."""
    trace_id: str | None = None
    """32 hexadecimal digits; None if tracing is off."""
    span_id: str | None = None


class Observer(Protocol):
    """Told each fact once, on the event loop, in the context of the task that caused it. Must not raise."""

    def http_finished(self, record: HttpRecord) -> None:
        """An HTTP exchange has ended."""
        ...

    def request_finished(self, record: RequestRecord) -> None:
        """An inference request has ended, before its HTTP exchange does."""
        ...

    def batch_finished(self, record: BatchRecord) -> None:
        """A batch has run, before any of its requests ends."""
        ...


class FanOut:
    """Passes each fact on to several observers, in order."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)

    def http_finished(self, record: HttpRecord) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.http_finished(record)

    def request_finished(self, record: RequestRecord) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.request_finished(record)

    def batch_finished(self, record: BatchRecord) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.batch_finished(record)
