"""The batch policy against those of a fixed size and a delay, over arrival traces, in simulated time.

The costs are those of all-MiniLM-L6-v2 in float32 on two cores, with a thread for each batch.
"""

import heapq
import math
import random
from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import pytest

from app.batching import BatchLimits, take_batch

WORKERS = 2
START, PER_TOKEN = 0.0007, 0.00021
"""Seconds, of a batch and of each of its tokens."""
LIMITS = BatchLimits(max_inputs=64, max_tokens=256, max_padding=None)
MEAN_TOKENS = 35.6
CAPACITY = WORKERS / (PER_TOKEN * MEAN_TOKENS)
"""Texts per second if batches cost nothing to start."""


@dataclass(slots=True, eq=False)
class Text:
    arrived: float
    tokens: int
    turn: int = 0
    deadline: float = math.inf
    finished: float = 0.0

    @property
    def latency(self) -> float:
        return self.finished - self.arrived


Policy = Callable[[list[Text], float, int], tuple[Sequence[Text], float]]
"""Of the line, the time and the idle workers: the batch to run now, or if it is empty, when to ask again."""


def work_conserving(line: list[Text], now: float, idle: int) -> tuple[Sequence[Text], float]:
    return take_batch(line, now, LIMITS, workers=idle).batch, math.inf


@dataclass(frozen=True)
class FixedSizeAndDelay:
    """As most servers have it: a batch goes when it is full, or when its first text has waited so long."""

    size: int
    delay: float

    def __call__(self, line: list[Text], now: float, _idle: int) -> tuple[Sequence[Text], float]:
        due = min(text.arrived for text in line) + self.delay
        return (line[: self.size], 0.0) if len(line) >= self.size or now >= due else ([], due)


@dataclass
class Simulation:
    policy: Policy
    line: list[Text] = field(default_factory=list)
    idle: int = WORKERS
    served_tokens: int = 0

    def run(self, trace: Sequence[Text]) -> None:
        """Serve all texts of the trace, and note when each was finished."""
        order = 0
        events: list[tuple[float, int, Text | None]] = []
        for text in trace:
            events.append((text.arrived, order, text))
            order += 1
        heapq.heapify(events)
        freed: list[float] = []
        while events or freed:
            now = min([event[0] for event in events[:1]] + freed[:1])
            while freed and freed[0] <= now:
                heapq.heappop(freed)
                self.idle += 1
            while events and events[0][0] <= now:
                arrived = heapq.heappop(events)[2]
                if arrived is not None:
                    arrived.turn = self.served_tokens
                    insort(self.line, arrived, key=attrgetter("turn"))
            while self.line and self.idle:
                batch, again = self.policy(self.line, now, self.idle)
                if not batch:
                    heapq.heappush(events, (again, order, None))
                    order += 1
                    break
                heapq.heappush(freed, self._begin(batch, now))

    def _begin(self, batch: Sequence[Text], now: float) -> float:
        tokens = sum(text.tokens for text in batch)
        self.served_tokens += tokens
        self.idle -= 1
        self.line = [text for text in self.line if text not in set(batch)]
        end = now + START + PER_TOKEN * tokens
        for text in batch:
            text.finished = end
        return end


def lengths(count: int, seed: int) -> list[int]:
    """As real texts have them: many short ones, a few long ones."""
    draw = random.Random(seed)
    return [min(256, max(3, round(draw.lognormvariate(3.2, 0.9)))) for _ in range(count)]


def poisson(load: float, count: int = 4000, seed: int = 1) -> list[Text]:
    draw, now, trace = random.Random(seed), 0.0, []
    for tokens in lengths(count, seed):
        now += draw.expovariate(load * CAPACITY)
        trace.append(Text(now, tokens))
    return trace


def bursts(load: float, count: int = 4000, of: int = 24, seed: int = 1) -> list[Text]:
    draw, now, trace = random.Random(seed), 0.0, []
    for index, tokens in enumerate(lengths(count, seed)):
        if index % of == 0:
            now += draw.expovariate(load * CAPACITY / of)
        trace.append(Text(now, tokens))
    return trace


OTHERS = [FixedSizeAndDelay(size, delay) for size in (4, 8, 32) for delay in (0.002, 0.005, 0.02)]


def quantiles(policy: Policy, trace: list[Text]) -> tuple[float, float, float]:
    """Mean, median and 99th percentile of the latency, in seconds."""
    Simulation(policy).run(trace)
    taken = sorted(text.latency for text in trace)
    return sum(taken) / len(taken), taken[len(taken) // 2], taken[len(taken) * 99 // 100]


def test_the_mean_length_is_that_of_the_costs() -> None:
    assert sum(lengths(4000, 1)) / 4000 == pytest.approx(MEAN_TOKENS, rel=0.03)


def test_at_low_load_a_text_takes_what_it_takes_alone() -> None:
    trace = poisson(0.02)
    _, median, _ = quantiles(work_conserving, trace)
    alone = sorted(START + PER_TOKEN * text.tokens for text in trace)[len(trace) // 2]
    assert median == pytest.approx(alone, rel=0.03)
    for other in OTHERS:
        assert quantiles(other, poisson(0.02))[1] >= median + 0.9 * other.delay


@pytest.mark.parametrize("load", [0.1, 0.4, 0.7, 0.85])
@pytest.mark.parametrize(
    ("make", "slack"),
    [
        (poisson, 1.0),
        # The first of a burst have their answers sooner from small batches; the last, and a full line, later.
        (bursts, 1.15),
    ],
)
def test_no_fixed_size_and_delay_is_faster(
    make: Callable[[float], list[Text]], slack: float, load: float
) -> None:
    mean, _, p99 = quantiles(work_conserving, make(load))
    for other in OTHERS:
        other_mean, _, other_p99 = quantiles(other, make(load))
        assert mean <= slack * other_mean, other
        assert p99 <= 1.1 * other_p99, other


def test_at_high_load_the_throughput_is_the_limits() -> None:
    trace = poisson(3.0)
    Simulation(work_conserving).run(trace)
    rate = len(trace) / max(text.finished for text in trace)
    limit = WORKERS / (START / (LIMITS.max_tokens / MEAN_TOKENS) + PER_TOKEN * MEAN_TOKENS)
    assert rate >= 0.97 * limit
