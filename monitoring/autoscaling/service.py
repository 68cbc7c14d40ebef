"""A queueing model of the service: pods that work off what they admit, one request after another."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

CAPACITY = 190.0
"""Texts a second that one pod computes: all-MiniLM-L6-v2 in float32 on two cores, texts of mixed length."""

MAX_WAIT = 2.0
"""`APP_ADMISSION__MAX_WAIT`: who would wait longer is refused at once."""

SCRAPE_INTERVAL = 15
"""Seconds; of prometheus.yml."""


@dataclass(slots=True)
class Pod:
    """One instance, from when it was asked for."""

    created: int
    running: int
    """When its process starts, and can be scraped; before it is pending."""
    ready: int
    """When it gets its first request."""
    free: float = 0.0
    """When all that it has admitted will be done."""
    samples: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=8))
    """The latest scrapes: when, and the saturation then."""

    def scrape(self, now: int, allowed_wait: float) -> None:
        """What Prometheus sees now, if there is anything."""
        if now >= self.running:
            self.samples.append((now, max(0.0, self.free - now) / allowed_wait))


@dataclass(frozen=True, slots=True)
class Answers:
    """What became of the requests of one second; NaN stands for a refusal."""

    waits: list[float]
    latencies: list[float]


REFUSED = float("nan")


def serve(
    pods: Sequence[Pod], arrivals: Sequence[float], seconds: Sequence[float], choices: Sequence[float]
) -> Answers:
    """Give each request to a pod at random, as a Service does, and let the pod admit or refuse it.

    `seconds` is what each takes by itself, `choices` a number in [0, 1) each; arrivals are ascending.
    """
    waits: list[float] = []
    latencies: list[float] = []
    free = [pod.free for pod in pods]
    count = len(free)
    for at, own, choice in zip(arrivals, seconds, choices, strict=True):
        chosen = int(choice * count)
        begin = free[chosen]
        if begin < at:
            begin = at
        elif begin - at > MAX_WAIT:
            waits.append(REFUSED)
            latencies.append(REFUSED)
            continue
        end = begin + own
        free[chosen] = end
        waits.append(begin - at)
        latencies.append(end - at)
    for pod, when in zip(pods, free, strict=True):
        pod.free = when
    return Answers(waits, latencies)
