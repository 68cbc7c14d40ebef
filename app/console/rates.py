"""What happened in the last five minutes, in numbers: counts by the second, and how long the stages took.

Durations are counted in buckets, each 5% wider than the one before, so that a quantile of all requests (and
not of a sample) costs a few kilobytes. It is told as its bucket's geometric middle, at most 2.5% off.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.batching import Reason
from app.observer import STAGES, BatchRecord, HttpRecord, RequestRecord

SECONDS = 300
SLICE = 10
"""Seconds in which durations are counted together."""

REQUESTS = ("requests", "failed", "overloaded", "refused")
"""By status: all, 5xx, 429, the other 4xx."""
BATCHES = ("batches", "inputs", "tokens", "padding_tokens", "busy_seconds", *map(str, Reason))
ROWS = (*STAGES, "total")

_REASON = {str(reason): BATCHES.index(reason) for reason in Reason}
_SHORTEST = 1e-5  # seconds; the first bucket takes all that is shorter
_GROWTH = math.log(1.05)
_BUCKETS = 380  # up to 1,100 s; the last takes all that is longer
_FIRST_BUCKET = {name: row * _BUCKETS for row, name in enumerate(ROWS)}


class Sliding:
    """Numbers for each slot of time, of which the last ones are kept."""

    def __init__(self, slots: int, width: int, numbers: int) -> None:
        """`width` is a slot's in seconds."""
        self._values = np.zeros((slots, numbers))
        # To add one to a memoryview's item takes a third of the time that it takes with an array's.
        self._views = [values.data for values in self._values]
        self._width = width
        self._slot = 0

    def at(self, instant: float) -> "memoryview[Any]":
        """The slot that the instant is in `[numbers]`, to add to. Instants come in order, or nearly so."""
        slot = int(instant) // self._width
        slots = len(self._views)
        if slot > self._slot:
            for passed in range(max(self._slot + 1, slot - slots + 1), slot + 1):
                self._values[passed % slots] = 0
            self._slot = slot
        return self._views[slot % slots]

    def history(self, now: float) -> NDArray[np.float64]:
        """All slots `[slots, numbers]`, the oldest first, the one that `now` is in last."""
        self.at(now)
        return np.roll(self._values, -1 - self._slot % len(self._values), axis=0)


@dataclass(frozen=True, slots=True)
class Quantiles:
    """How long one stage took, in seconds; None without a request."""

    stage: str
    count: int
    p50: float | None
    p95: float | None
    p99: float | None


class Rates:
    """An observer that counts."""

    def __init__(self) -> None:
        self._requests = Sliding(SECONDS, 1, len(REQUESTS))
        self._batches = Sliding(SECONDS, 1, len(BATCHES))
        self._durations = Sliding(SECONDS // SLICE, SLICE, len(ROWS) * _BUCKETS)

    def http_finished(self, record: HttpRecord) -> None:
        """Count it, and how long its stages took."""
        counts = self._requests.at(record.finished)
        counts[0] += 1
        status = record.status
        if status >= 400:
            counts[1 if status >= 500 else 2 if status == 429 else 3] += 1
        if record.inference and status != 429:  # a refusal for overload says nothing of how long work takes
            durations = self._durations.at(record.finished)
            durations[_FIRST_BUCKET["total"] + _bucket(record.finished - record.started)] += 1
            for stage, seconds in record.inference.stages.durations().items():
                durations[_FIRST_BUCKET[stage] + _bucket(seconds)] += 1

    def request_finished(self, record: RequestRecord) -> None:
        """Its exchange carries it."""

    def batch_finished(self, record: BatchRecord) -> None:
        """Count it, and what was in it."""
        counts = self._batches.at(record.finished)
        counts[0] += 1
        counts[1] += record.inputs
        counts[2] += record.tokens
        counts[3] += record.padding_tokens
        counts[4] += record.finished - record.started
        counts[_REASON[record.reason]] += 1

    def counts(self, now: float) -> Mapping[str, NDArray[np.float64]]:
        """Each of `REQUESTS` and `BATCHES` by the second `[SECONDS]`, the second that `now` is in last."""
        requests, batches = self._requests.history(now), self._batches.history(now)
        return dict(zip((*REQUESTS, *BATCHES), (*requests.T, *batches.T), strict=True))

    def quantiles(self, now: float) -> list[Quantiles]:
        """Of each of `ROWS` over the last five minutes, to the slice."""
        counts = self._durations.history(now).sum(axis=0).reshape(len(ROWS), _BUCKETS)
        ranks = np.cumsum(counts, axis=1)
        return [Quantiles(stage, int(row[-1]), *_values(row)) for stage, row in zip(ROWS, ranks, strict=True)]


def _bucket(seconds: float) -> int:
    if seconds <= _SHORTEST:
        return 0
    bucket = int(math.log(seconds / _SHORTEST) / _GROWTH)
    return bucket if bucket < _BUCKETS else _BUCKETS - 1


def _values(ranks: NDArray[np.float64]) -> tuple[float | None, float | None, float | None]:
    """The nearest-rank quantiles, from the number of durations up to each bucket's end."""
    count = ranks[-1]
    if not count:
        return None, None, None
    buckets = np.searchsorted(ranks, np.ceil(np.array((0.5, 0.95, 0.99)) * count))
    p50, p95, p99 = _SHORTEST * np.exp(_GROWTH * (buckets + 0.5))
    return float(p50), float(p95), float(p99)
