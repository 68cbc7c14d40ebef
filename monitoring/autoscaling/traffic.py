"""Traces of traffic: how many texts a second arrive over time, and the requests drawn from them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BASE = 80.0
"""Texts a second in calm times: a fifth of what two pods can compute."""

CALM = 300
"""Seconds of calm before anything happens."""


@dataclass(frozen=True, slots=True)
class Trace:
    """`rate(second)` texts a second, for `seconds`."""

    name: str
    seconds: int
    rate: Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Mix:
    """How many texts the requests have, and how often; and how much the texts' costs differ."""

    name: str
    texts: tuple[int, ...]
    shares: tuple[float, ...]
    cost_deviation: float = 0.8
    """The standard deviation of the cost of one text, divided by its mean."""


LONE = Mix("one text each", (1,), (1.0,))
MIXED = Mix("1, 4 or 16 texts", (1, 4, 16), (0.7, 0.2, 0.1))


@dataclass(frozen=True, slots=True)
class Requests:
    """When each comes, in seconds; its cost, in mean texts; a number in [0, 1) to choose its pod by."""

    arrivals: NDArray[np.float64]
    costs: NDArray[np.float64]
    choices: NDArray[np.float64]


def step(times: float) -> Trace:
    """Calm, 15 minutes of `times` as much, calm."""
    end = CALM + 900
    return Trace(f"step x{times:g}", end + 900, lambda at: BASE * (times if CALM <= at < end else 1))


def ramp(times: float, minutes: float) -> Trace:
    """Up to `times` as much within `minutes`, 10 minutes of it, and down again as slowly."""
    slope = 60 * minutes
    top = CALM + slope
    end = top + 600

    def rate(at: float) -> float:
        height = min((at - CALM) / slope, 1 - (at - end) / slope, 1)
        return BASE * (1 + (times - 1) * max(0, height))

    return Trace(f"ramp x{times:g} in {minutes:g} min", int(end + slope + 600), rate)


def spikes(times: float, seconds: float) -> Trace:
    """Three bursts of `times` as much, five minutes apart."""

    def rate(at: float) -> float:
        inside = CALM <= at < CALM + 900 and (at - CALM) % 300 < seconds
        return BASE * (times if inside else 1)

    return Trace(f"spikes x{times:g} of {seconds:g} s", CALM + 1200, rate)


def wave(times: float) -> Trace:
    """A day in an hour: from calm to `times` as much and back."""
    period = 3600

    def rate(at: float) -> float:
        return BASE * (1 + (times - 1) * (1 - math.cos(2 * math.pi * at / period)) / 2)

    return Trace(f"wave x{times:g}", period, rate)


TRACES = (step(2), step(5), step(10), ramp(10, 10), spikes(5, 30), wave(10))


def draw(trace: Trace, mix: Mix, seed: int) -> Requests:
    """The requests of a Poisson process with the trace's rate; the same for the same seed."""
    random = np.random.default_rng(seed)
    mean_texts = sum(texts * share for texts, share in zip(mix.texts, mix.shares, strict=True))
    per_second = random.poisson([trace.rate(at + 0.5) / mean_texts for at in range(trace.seconds)])
    seconds = np.repeat(np.arange(trace.seconds), per_second)
    arrivals = np.sort(seconds + random.random(len(seconds)))
    texts = random.choice(mix.texts, size=len(arrivals), p=mix.shares)
    # A sum of texts whose costs are gamma distributed is so itself.
    shape = 1 / mix.cost_deviation**2
    return Requests(arrivals, random.gamma(texts * shape) / shape, random.random(len(arrivals)))
