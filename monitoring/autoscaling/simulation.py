"""Traffic, pods and autoscaler together, second by second.

What is left out: retries of refused requests, pods that fail, nodes without room, the fair order in which
the service takes inputs (it changes who waits, not how much work does), and that a pod's two workers are no
single one of twice the speed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from monitoring.autoscaling.algorithm import SYNC_PERIOD, Autoscaler, PodMetric, milli
from monitoring.autoscaling.service import CAPACITY, SCRAPE_INTERVAL, Pod, serve
from monitoring.autoscaling.spec import Autoscaling
from monitoring.autoscaling.traffic import Requests, Trace

PENDING_SHARE = 1 / 3
"""Of a cold start: scheduling and the image; the rest is the process loading its model."""

SYNC_PHASE = 7
"""Seconds between the first pod's scrapes and the controller's looks."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the autoscaler does not choose."""

    cold_start: int
    """Seconds from when a pod is asked for to its first request."""
    threshold: float
    """Seconds within which an answer is good."""
    allowed_wait: float
    """Seconds of admitted work at which saturation is 1."""
    capacity: float = CAPACITY


Reading = Callable[[Pod, int], float | None]
"""What the metrics API tells of a pod at a second, or None."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run: what the callers felt, and what it cost."""

    times: NDArray[np.float64]
    """When each request came."""
    waits: NDArray[np.float64]
    """Seconds that each waited; NaN if it was refused."""
    good: NDArray[np.bool_]
    """Whether it was answered within the threshold."""
    asked: tuple[int, ...]
    """The replicas asked for, each second."""
    ready: tuple[int, ...]
    """The pods that were ready, each second."""
    saturation: tuple[float, ...]
    """The mean over the ready pods, each second."""
    pod_seconds: int

    @property
    def good_share(self) -> float:
        """Of all requests."""
        return float(self.good.mean())

    @property
    def refused_share(self) -> float:
        """Of all requests."""
        return float(np.isnan(self.waits).mean())

    @property
    def p99_wait(self) -> float:
        """Seconds, of those that were admitted."""
        return float(np.nanquantile(self.waits, 0.99))

    @property
    def bad_seconds(self) -> int:
        """In slices of ten seconds: how long fewer than 99 % of the requests had a good answer."""
        slices = (self.times // 10).astype(int)
        total = np.bincount(slices)
        good = np.bincount(slices, weights=self.good, minlength=len(total))
        return 10 * int((good < 0.99 * total).sum())

    @property
    def turns(self) -> int:
        """How often the replicas changed their direction."""
        changes = [after - before for before, after in pairwise(self.asked) if after != before]
        return sum(before * after < 0 for before, after in pairwise(changes))


def latest(pod: Pod, _: int) -> float | None:
    """The last scrape, as a plain query gives it."""
    return pod.samples[-1][1] if pod.samples else None


def latest_if_ready(pod: Pod, now: int) -> float | None:
    """The last scrape of a pod that was ready then."""
    return pod.samples[-1][1] if pod.samples and pod.samples[-1][0] >= pod.ready else None


def averaged(seconds: int) -> Reading:
    """The mean of the scrapes of the last `seconds`, of a pod that is ready."""
    return _over(seconds, lambda values: sum(values) / len(values))


def highest(seconds: int) -> Reading:
    """The highest scrape of the last `seconds`, of a pod that is ready."""
    return _over(seconds, max)


def _over(seconds: int, combine: Callable[[list[float]], float]) -> Reading:
    def read(pod: Pod, now: int) -> float | None:
        recent = [value for when, value in pod.samples if when > now - seconds and when >= pod.ready]
        return combine(recent) if recent else None

    return read


def simulate(
    trace: Trace, requests: Requests, spec: Autoscaling, conditions: Conditions, read: Reading
) -> Outcome:
    """Run the trace. The same arguments give the same outcome."""
    autoscaler = Autoscaler(spec)
    pods = [Pod(created=-3600, running=-3600, ready=-3600) for _ in range(spec.min_replicas)]
    born = len(pods)
    phases = {id(pod): 5 * number % SCRAPE_INTERVAL for number, pod in enumerate(pods)}
    bounds = np.searchsorted(requests.arrivals, range(trace.seconds + 1)).tolist()
    arrivals, seconds, choices = (
        column.tolist()
        for column in (requests.arrivals, requests.costs / conditions.capacity, requests.choices)
    )
    waits: list[float] = []
    latencies: list[float] = []
    asked: list[int] = []
    ready_counts: list[int] = []
    saturations: list[float] = []
    pod_seconds = 0

    for now in range(trace.seconds):
        for pod in pods:
            if (now - phases[id(pod)]) % SCRAPE_INTERVAL == 0:
                pod.scrape(now, conditions.allowed_wait)
        if now % SYNC_PERIOD == SYNC_PHASE:
            metrics = [_metric(pod, now, read) for pod in pods]
            desired = autoscaler.reconcile(now, len(pods), metrics)
            while len(pods) < desired:
                pending = round(PENDING_SHARE * conditions.cold_start)
                pods.append(Pod(now, now + pending, now + conditions.cold_start))
                # Prometheus spreads the scrapes over the interval
                phases[id(pods[-1])] = 5 * born % SCRAPE_INTERVAL
                born += 1
            pods = _keep(pods, desired, now)
        ready = [pod for pod in pods if pod.ready <= now]
        span = slice(bounds[now], bounds[now + 1])
        answers = serve(ready, arrivals[span], seconds[span], choices[span])
        waits += answers.waits
        latencies += answers.latencies
        asked.append(len(pods))
        ready_counts.append(len(ready))
        saturations.append(_mean_saturation(ready, now + 1, conditions.allowed_wait))
        pod_seconds += len(pods)

    return Outcome(
        times=requests.arrivals,
        waits=np.array(waits),
        good=np.array(latencies) <= conditions.threshold,
        asked=tuple(asked),
        ready=tuple(ready_counts),
        saturation=tuple(saturations),
        pod_seconds=pod_seconds,
    )


def _metric(pod: Pod, now: int, read: Reading) -> PodMetric:
    value = read(pod, now)
    return PodMetric(None if value is None else milli(value), pending=pod.running > now)


def _keep(pods: Sequence[Pod], count: int, now: int) -> list[Pod]:
    """As a ReplicaSet chooses: those that are not ready go first, then the youngest."""
    return sorted(pods, key=lambda pod: (pod.ready > now, pod.created))[:count]


def _mean_saturation(pods: Sequence[Pod], now: int, allowed_wait: float) -> float:
    return sum(max(0.0, pod.free - now) for pod in pods) / len(pods) / allowed_wait
