"""The HorizontalPodAutoscaler's algorithm for a Pods metric, without a cluster and without a clock.

It follows Kubernetes' documentation, "Horizontal Pod Autoscaling", and pkg/controller/podautoscaler of its
source: `calcPlainMetricReplicas` proposes a count, `stabilizeRecommendationWithBehaviors` and
`convertDesiredReplicasWithBehaviorRate` hold it back. Delays of initial readiness are for CPU alone.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from monitoring.autoscaling.spec import Autoscaling, ScalingRules

SYNC_PERIOD = 15
"""Seconds between two looks of the controller."""


@dataclass(frozen=True, slots=True)
class PodMetric:
    """A pod that is not being deleted and has not failed, and what is known of it."""

    value: int | None
    """Of the metric, in thousandths; None if the metrics API tells none."""
    pending: bool = False
    """Its phase: not yet running on a node. A running pod that is not ready is not pending."""


def milli(value: float) -> int:
    """A sample in thousandths, as prometheus-adapter passes it on: cut off, and NaN as 0."""
    return 0 if math.isnan(value) else int(value * 1000)


def propose(current: int, pods: Sequence[PodMetric], target: int, tolerance: float) -> int | None:
    """The replicas that would bring the average to `target`, in thousandths; None without any value.

    What is not known never makes a change larger: pods without a value count as on target when it goes down
    and as idle when it goes up, pending ones only as idle when it goes up.
    """
    known = [pod.value for pod in pods if not pod.pending and pod.value is not None]
    pending = sum(pod.pending for pod in pods)
    missing = len(pods) - pending - len(known)
    if not known:
        return None
    ratio = _ratio(known, target)
    pending_count = pending if ratio > 1 else 0
    if not missing and not pending_count:
        return current if _within(ratio, tolerance) else math.ceil(ratio * len(known))

    if ratio < 1:
        known += [target] * missing
    elif ratio > 1:
        known += [0] * (missing + pending_count)
    careful = _ratio(known, target)
    if _within(careful, tolerance) or (ratio - 1) * (careful - 1) < 0:
        return current
    proposal = math.ceil(careful * len(known))
    if (careful < 1 and proposal > current) or (careful > 1 and proposal < current):
        return current
    return proposal


class Autoscaler:
    """One autoscaler with its memory of recommendations and of changes."""

    def __init__(self, spec: Autoscaling) -> None:
        self._spec = spec
        self._target = milli(float(spec.target))
        self._recommendations: list[tuple[float, int]] = []
        self._added: list[tuple[float, int]] = []
        self._removed: list[tuple[float, int]] = []

    def reconcile(self, now: float, current: int, pods: Sequence[PodMetric]) -> int:
        """The replicas to have from `now` (seconds, never going back), when `current` are asked for."""
        if not self._recommendations:
            self._recommendations.append((now, current))
        desired = self._desired(now, current, pods)
        if desired > current:
            self._added.append((now, desired - current))
        elif desired < current:
            self._removed.append((now, current - desired))
        return desired

    def _desired(self, now: float, current: int, pods: Sequence[PodMetric]) -> int:
        spec = self._spec
        if not spec.min_replicas <= current <= spec.max_replicas:
            return min(max(current, spec.min_replicas), spec.max_replicas)
        proposal = propose(current, pods, self._target, spec.tolerance)
        if proposal is None:
            return current
        stable = self._stabilized(now, current, proposal)
        if stable > current:
            limit = max(current, self._limit(now, current, spec.behavior.scale_up, up=True))
            return min(stable, limit, spec.max_replicas)
        limit = min(current, self._limit(now, current, spec.behavior.scale_down, up=False))
        return max(stable, limit, spec.min_replicas) if stable < current else current

    def _stabilized(self, now: float, current: int, proposal: int) -> int:
        """The least change that was right during the whole window of its direction."""
        behavior = self._spec.behavior
        up = [proposal, *_since(self._recommendations, now - behavior.scale_up.stabilization_window_seconds)]
        down = [
            proposal,
            *_since(self._recommendations, now - behavior.scale_down.stabilization_window_seconds),
        ]
        self._recommendations.append((now, proposal))
        return min(max(current, min(up)), max(down))

    def _limit(self, now: float, current: int, rules: ScalingRules, *, up: bool) -> int:
        """The farthest that the policies allow, from the replicas at the start of each one's period."""
        if rules.select_policy == "Disabled":
            return current
        limits = []
        for policy in rules.policies:
            begin = now - policy.period_seconds
            at_begin = current - sum(_since(self._added, begin)) + sum(_since(self._removed, begin))
            if policy.type == "Pods":
                limits.append(at_begin + policy.value if up else at_begin - policy.value)
            else:
                # Rounded away from the present count when up, towards zero when down
                share = policy.value / 100
                limits.append(math.ceil(at_begin * (1 + share)) if up else int(at_begin * (1 - share)))
        largest_change: Callable[[list[int]], int] = max if up else min
        least_change: Callable[[list[int]], int] = min if up else max
        return (least_change if rules.select_policy == "Min" else largest_change)(limits)


def _ratio(values: Sequence[int], target: int) -> float:
    return (sum(values) // len(values)) / target


def _within(ratio: float, tolerance: float) -> bool:
    return 1 - tolerance <= ratio <= 1 + tolerance


def _since(events: Sequence[tuple[float, int]], begin: float) -> list[int]:
    return [count for when, count in events if when > begin]
