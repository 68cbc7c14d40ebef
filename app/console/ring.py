"""Requests to look back on: the latest, the slowest and the failed, in bounded memory.

An observer and no span processor (docs/adr/0001-console-observes-records.md): it sees every request, sampled
or not. A record leads to contexts, and they to much else, so what is kept are copies of what is shown.
"""

import heapq
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain, islice

from app.errors import Outcome
from app.floods import FirstOfEachSecond
from app.observer import BatchRecord, HttpRecord, RequestRecord, Stages

# Memory: 2.3 MB of ordinary requests; 51 MB if each rode in as many and as full batches as are kept, none of
# them shared, and all ids were 128 characters long. A test holds both.
LATEST = 2048
FAILED = 128
"""Of the server's failures, and again of what it refused."""
OVERLOADED = 10
"""Refusals for overload that are kept of each second: in a flood they would drive all else out."""
SLOWEST = 20
"""Of each minute. So the slowest of all the minutes kept are among them."""
MINUTES = 5
MAX_BATCHES = 8
MAX_AHEAD = 4
MAX_MEMBERS = 32
RECENT_BATCHES = 64

MAX_GIVEN_UP = 64
"""Requests that ended without an answer, to which the batch that ran at the time may be added."""


@dataclass(slots=True, eq=False)
class Batch:
    """One forward pass. Instants are seconds of `time.monotonic`, here and below."""

    id: int
    reason: str
    inputs: int
    tokens: int
    padding_tokens: int
    failed_inputs: int
    started: float
    finished: float
    requests: int
    members: tuple[tuple[str, int], ...]
    """Request id and inputs of the first `MAX_MEMBERS` requests in it."""

    @property
    def padding_ratio(self) -> float:
        """The share of its tokens that is padding."""
        return self.padding_tokens / max(1, self.tokens + self.padding_tokens)


@dataclass(slots=True, eq=False)
class Exchange:
    """One request to the API and its answer."""

    number: int
    """In order of their ends. A request's id is the caller's choice, so that several may have the same."""
    request_id: str
    trace_id: str | None
    method: str
    route: str
    status: int
    started: float
    finished: float
    ended_at: float
    """The end as Unix time."""
    inference: "Inferred | None" = None

    @property
    def seconds(self) -> float:
        """From the end of the request's head to the end of the answer."""
        return self.finished - self.started


@dataclass(slots=True, eq=False)
class Inferred:
    """The inference that an exchange carried."""

    task: str
    outcome: Outcome
    error: str | None
    reason: str | None
    inputs: int
    tokens: int
    truncated_inputs: int
    finished: float
    stages: Stages
    """The record's own, which only holds instants. What was computing when the caller gave up is filled in
    when it ends."""
    batches: list[Batch] = field(default_factory=list)
    """The first `MAX_BATCHES` that its inputs ran in."""
    batch_count: int = 0
    ahead: list[Batch] = field(default_factory=list)
    """Those of others that ran while it queued: the last `MAX_AHEAD`."""


class Ring:
    """An observer that remembers."""

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self._number = 0
        self._overloaded = FirstOfEachSecond(OVERLOADED)
        self._latest: deque[Exchange] = deque(maxlen=LATEST)
        self._failed: deque[Exchange] = deque(maxlen=FAILED)
        self._refused: deque[Exchange] = deque(maxlen=FAILED)
        self._slowest: deque[tuple[int, list[tuple[float, int, Exchange]]]] = deque(maxlen=MINUTES)
        self._recent: dict[int, Batch] = {}
        self._given_up: deque[Exchange] = deque(maxlen=MAX_GIVEN_UP)

    def batch_finished(self, record: BatchRecord) -> None:
        """Copy it once for all its requests."""
        batch = self._recent[record.id] = _copy(record)
        if len(self._recent) > RECENT_BATCHES:
            del self._recent[next(iter(self._recent))]
        for exchange in self._given_up:
            if batch.started < exchange.finished:
                _add_late(exchange, batch, record)

    def request_finished(self, record: RequestRecord) -> None:
        """Its exchange carries it, and ends later."""

    def http_finished(self, record: HttpRecord) -> None:
        """Keep a copy wherever it belongs, of refusals for overload (429) the first of each second."""
        if record.status == 429 and not self._overloaded.lets_pass(record.finished):
            return
        self._number += 1
        exchange = Exchange(
            self._number,
            record.request_id,
            record.trace_id,
            record.method,
            record.route,
            record.status,
            record.started,
            record.finished,
            self._wall_clock(),
        )
        self._latest.append(exchange)
        if record.status >= 500:
            self._failed.append(exchange)
        elif record.status >= 400:
            self._refused.append(exchange)
        if record.inference:
            exchange.inference = inferred = self._inferred(record.inference)
            self._rank(exchange)
            if inferred.outcome != "ok" and inferred.stages.queued is not None:
                self._given_up.append(exchange)

    def _inferred(self, record: RequestRecord) -> Inferred:
        stages = record.stages
        inferred = Inferred(
            record.task,
            record.outcome,
            record.error,
            record.reason,
            record.inputs,
            record.tokens,
            record.truncated_inputs,
            record.finished,
            stages,
            [self._recent.get(batch.id) or _copy(batch) for batch in record.batches[:MAX_BATCHES]],
            len(record.batches),
        )
        if stages.queued is not None:
            waited_until = record.finished if stages.compute_started is None else stages.compute_started
            for batch in reversed(self._recent.values()):
                if batch.finished <= stages.queued or len(inferred.ahead) == MAX_AHEAD:
                    break
                if batch.started < waited_until and batch not in inferred.batches:
                    inferred.ahead.insert(0, batch)
        return inferred

    def _rank(self, exchange: Exchange) -> None:
        minute = int(exchange.finished // 60)
        if not self._slowest or self._slowest[-1][0] < minute:
            self._slowest.append((minute, []))
        heap = self._slowest[-1][1]
        ranked = exchange.seconds, exchange.number, exchange
        if len(heap) < SLOWEST:
            heapq.heappush(heap, ranked)
        elif heap[0] < ranked:
            heapq.heapreplace(heap, ranked)

    def latest(self, count: int) -> list[Exchange]:
        """The newest first."""
        return list(islice(reversed(self._latest), count))

    def slowest(self, count: int, now: float) -> list[Exchange]:
        """The slowest inferences of this minute and the `MINUTES` - 1 before it, the slowest first."""
        oldest = int(now // 60) - MINUTES + 1
        heaps = [heap for minute, heap in self._slowest if minute >= oldest]
        return [exchange for *_, exchange in heapq.nlargest(count, chain.from_iterable(heaps))]

    def failed(self, count: int) -> list[Exchange]:
        """The newest first, half of them the server's failures, so that a flood of refusals hides none."""
        failed = list(islice(reversed(self._failed), count))
        refused = list(islice(reversed(self._refused), count))
        refused = refused[: max(count // 2, count - len(failed))]
        both = failed[: count - len(refused)] + refused
        return sorted(both, key=lambda exchange: -exchange.number)

    def batches(self, count: int) -> list[Batch]:
        """The newest first, at most `RECENT_BATCHES`."""
        return list(islice(reversed(self._recent.values()), count))

    def find(self, text: str) -> list[Exchange]:
        """Those whose request id or trace id is `text`, the newest first."""
        trace_id = text.lower()
        return [each for each in self._kept() if each.request_id == text or each.trace_id == trace_id]

    def mates(self, exchange: Exchange) -> dict[int, dict[str, Exchange]]:
        """For each of its batches, by id, those in it that are still kept, itself too, by request id."""
        mates: dict[int, dict[str, Exchange]] = {}
        if exchange.inference:
            mates = {batch.id: {} for batch in exchange.inference.batches}
        for other in self._kept():
            for batch in other.inference.batches if other.inference else ():
                if batch.id in mates:
                    mates[batch.id][other.request_id] = other
        return mates

    def _kept(self) -> list[Exchange]:
        slowest = (exchange for _, heap in self._slowest for *_, exchange in heap)
        kept = {
            exchange.number: exchange
            for exchange in chain(self._latest, self._failed, self._refused, slowest)
        }
        return [kept[number] for number in sorted(kept, reverse=True)]


def _copy(record: BatchRecord) -> Batch:
    return Batch(
        record.id,
        record.reason,
        record.inputs,
        record.tokens,
        record.padding_tokens,
        record.failed_inputs,
        record.started,
        record.finished,
        len(record.members),
        tuple([(member.request_id, member.inputs) for member in record.members[:MAX_MEMBERS]]),
    )


def _add_late(exchange: Exchange, batch: Batch, record: BatchRecord) -> None:
    """The caller did not wait for the end of `batch`, which ran with the request or instead of it."""
    inferred = exchange.inference
    if inferred is None:
        return
    if any(member.request_id == exchange.request_id for member in record.members):
        inferred.batch_count += 1
        if len(inferred.batches) < MAX_BATCHES:
            inferred.batches.append(batch)
    elif len(inferred.ahead) < MAX_AHEAD:
        inferred.ahead.append(batch)
