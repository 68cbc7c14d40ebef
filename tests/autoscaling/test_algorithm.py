"""The autoscaler's algorithm against what Kubernetes documents, and cases computed by hand."""

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.autoscaling.algorithm import Autoscaler, PodMetric, milli, propose
from monitoring.autoscaling.spec import Autoscaling, Behavior, Policy, ScalingRules

PENDING = PodMetric(None, pending=True)
MISSING = PodMetric(None)
HOLD = 10_000  # more than any window or period here


def pods(*values: int) -> list[PodMetric]:
    return [PodMetric(value) for value in values]


def proposal(current: int, *metrics: PodMetric, target: int = 100) -> int | None:
    return propose(current, metrics, target, tolerance=0.1)


def rules(*policies: tuple[str, int, int], window: int = 0, select: str = "Max") -> ScalingRules:
    return ScalingRules.model_validate(
        {
            "policies": [
                {"type": kind, "value": value, "periodSeconds": period} for kind, value, period in policies
            ],
            "stabilizationWindowSeconds": window,
            "selectPolicy": select,
        }
    )


def autoscaler(
    up: ScalingRules | None = None, down: ScalingRules | None = None, maximum: int = 100
) -> Autoscaler:
    """With a target of 1; at once and without limit in the directions that are not said."""
    at_once = rules(("Percent", 100_000, 15))
    behavior = Behavior(scale_up=up or at_once, scale_down=down or rules(("Percent", 100, 15)))
    return Autoscaler(Autoscaling(max_replicas=maximum, target=Decimal(1), behavior=behavior))


def asks_for(replicas: int, current: int) -> list[PodMetric]:
    """Metrics of all `current` pods that propose so many replicas."""
    total = 1000 * replicas
    shares = [total // current + (number < total % current) for number in range(current)]
    return pods(*shares)


# The documentation's examples: 200m for a desired 100m, and 50m.
def test_twice_the_target_doubles_and_half_of_it_halves() -> None:
    assert proposal(2, *pods(200, 200)) == 4
    assert proposal(2, *pods(50, 50)) == 1
    assert proposal(3, *pods(50, 50, 50)) == 2  # rounded up


def test_within_a_tenth_of_the_target_nothing_changes() -> None:
    assert proposal(10, *pods(*[110] * 10)) == 10
    assert proposal(10, *pods(*[90] * 10)) == 10
    assert proposal(10, *pods(*[111] * 10)) == 12  # 11.1
    assert proposal(10, *pods(*[89] * 10)) == 9  # 8.9


def test_the_average_is_cut_to_thousandths_before_it_is_compared() -> None:
    assert propose(3, pods(110, 110, 112), 100, tolerance=0.1) == 3  # 332 ÷ 3 is 110 there
    assert milli(0.0019) == 1
    assert milli(float("nan")) == 0


def test_no_value_at_all_is_no_proposal() -> None:
    assert proposal(2, MISSING, MISSING) is None
    assert proposal(2, PENDING, PENDING) is None
    assert proposal(0) is None


def test_a_pod_without_a_value_counts_as_idle_when_it_goes_up() -> None:
    # 3 of 4 pods at twice the target: 600 ÷ 4 is 1.5 times the target
    assert proposal(4, *pods(200, 200, 200), MISSING) == 6
    # 2 of 4: on average on target
    assert proposal(4, *pods(200, 200), MISSING, MISSING) == 4


def test_a_pod_without_a_value_counts_as_on_target_when_it_goes_down() -> None:
    # (20 + 20 + 100 + 100) ÷ 4 is 0.6 of the target
    assert proposal(4, *pods(20, 20), MISSING, MISSING) == 3
    # alone, the two would have halved and more
    assert proposal(2, *pods(20, 20)) == 1


def test_what_is_not_known_never_turns_the_direction() -> None:
    assert proposal(4, *pods(150), MISSING, MISSING, MISSING) == 4
    assert proposal(5, *pods(300), PENDING, PENDING, PENDING, PENDING) == 5


def test_a_pending_pod_counts_as_idle_when_it_goes_up_and_not_at_all_when_it_goes_down() -> None:
    assert proposal(4, *pods(300, 300), PENDING, PENDING) == 6
    assert proposal(4, *pods(50, 50), PENDING, PENDING) == 1
    assert proposal(2, *pods(210), PENDING) == 2  # 105 on average


def test_pods_that_are_not_there_yet_do_not_turn_the_direction() -> None:
    """Ten are asked for, five are there: six would do for what these say, but it is going up."""
    assert proposal(10, *pods(200, 200, 200), MISSING, MISSING) == 10


def test_a_running_pod_that_says_0_while_it_loads_counts_with_its_0() -> None:
    """Initial readiness is looked at for CPU only: why the adapter's query leaves such pods out."""
    assert proposal(4, *pods(60, 60, 0, 0)) == 2
    assert proposal(4, *pods(60, 60), MISSING, MISSING) == 4


def test_on_target_with_a_value_missing_nothing_changes() -> None:
    assert proposal(3, *pods(100, 100), MISSING) == 3


@given(
    known=st.lists(st.integers(0, 5000), min_size=1, max_size=12),
    missing=st.integers(0, 6),
    pending=st.integers(0, 6),
    target=st.integers(50, 2000),
)
def test_less_knowledge_never_means_a_larger_change(
    known: list[int], missing: int, pending: int, target: int
) -> None:
    current = len(known) + missing + pending
    metrics = [*pods(*known), *[MISSING] * missing, *[PENDING] * pending]
    proposed = propose(current, metrics, target, tolerance=0.1)

    assert proposed is not None
    if proposed > current:
        # Not a pod more than the work that is known needs, and only if all pods together have too much
        assert sum(known) > target * current
        assert (proposed - 1) * target < sum(known)
    if proposed < current:
        assert sum(known) / len(known) < target


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=12), st.integers(50, 2000))
def test_a_higher_target_never_asks_for_more(known: list[int], target: int) -> None:
    lower, higher = (propose(len(known), pods(*known), each, tolerance=0.0) for each in (target, target + 50))
    assert lower is not None
    assert higher is not None
    assert higher <= lower


def test_going_down_waits_for_the_highest_proposal_of_the_window() -> None:
    scaler = autoscaler(down=rules(("Percent", 100, 15), window=300))
    assert scaler.reconcile(0, 8, asks_for(8, 8)) == 8
    assert scaler.reconcile(15, 8, asks_for(5, 8)) == 8
    assert scaler.reconcile(30, 8, asks_for(2, 8)) == 8
    assert scaler.reconcile(299, 8, asks_for(2, 8)) == 8
    assert scaler.reconcile(300, 8, asks_for(2, 8)) == 5  # the 8 is 300 s old, the 5 is not
    assert scaler.reconcile(315, 5, asks_for(2, 5)) == 2


def test_going_up_waits_for_the_lowest_proposal_of_the_window() -> None:
    scaler = autoscaler(up=rules(("Percent", 1000, 15), window=60))
    assert scaler.reconcile(0, 2, asks_for(2, 2)) == 2
    assert scaler.reconcile(15, 2, asks_for(6, 2)) == 2
    assert scaler.reconcile(30, 2, asks_for(9, 2)) == 2
    assert scaler.reconcile(60, 2, asks_for(9, 2)) == 6
    assert scaler.reconcile(75, 6, asks_for(9, 6)) == 9


def test_the_first_look_remembers_the_count_that_it_found() -> None:
    """A controller that restarts does not tear down what it finds: its window begins with it."""
    scaler = autoscaler(down=rules(("Percent", 100, 15), window=300))
    assert scaler.reconcile(1000, 8, asks_for(1, 8)) == 8
    assert scaler.reconcile(1299, 8, asks_for(1, 8)) == 8
    assert scaler.reconcile(1300, 8, asks_for(1, 8)) == 1


def test_the_default_is_four_pods_or_twice_as_many_every_fifteen_seconds() -> None:
    scaler = Autoscaler(Autoscaling(max_replicas=100, target=Decimal(1)))
    replicas = 1
    seen = []
    for now in range(0, 75, 15):
        replicas = scaler.reconcile(now, replicas, asks_for(90, replicas))
        seen.append(replicas)
    assert seen == [5, 10, 20, 40, 80]


# The documentation's example: 4 pods or 10 % a minute. With 80 replicas 8 may go, with 72 as many, since 7.2
# is rounded up; below 40 the 4 pods are more than the 10 %.
def test_the_documented_policies_for_going_down() -> None:
    down = rules(("Pods", 4, 60), ("Percent", 10, 60))
    assert autoscaler(down=down).reconcile(0, 80, asks_for(10, 80)) == 72
    assert autoscaler(down=down).reconcile(0, 72, asks_for(10, 72)) == 64  # 64.8, cut off
    assert autoscaler(down=down).reconcile(0, 40, asks_for(10, 40)) == 36
    assert autoscaler(down=down).reconcile(0, 20, asks_for(10, 20)) == 16


def test_min_takes_the_policy_that_allows_least() -> None:
    down = rules(("Pods", 5, 60), ("Percent", 10, 60), select="Min")
    assert autoscaler(down=down).reconcile(0, 20, asks_for(5, 20)) == 18
    up = rules(("Pods", 4, 15), ("Percent", 100, 15), select="Min")
    assert autoscaler(up=up).reconcile(0, 2, asks_for(50, 2)) == 4
    assert autoscaler(up=up).reconcile(0, 10, asks_for(50, 10)) == 14


def test_a_small_percentage_still_adds_a_pod_but_may_remove_none() -> None:
    assert autoscaler(up=rules(("Percent", 1, 15))).reconcile(0, 2, asks_for(9, 2)) == 3
    # 1.98 is cut off to 1
    assert autoscaler(down=rules(("Percent", 1, 15))).reconcile(0, 2, asks_for(1, 2)) == 1


def test_disabled_never_moves_that_way() -> None:
    up, down = rules(("Pods", 4, 15), select="Disabled"), rules(("Pods", 4, 15), select="Disabled")
    scaler = autoscaler(up=up, down=down)
    assert scaler.reconcile(0, 5, asks_for(9, 5)) == 5
    assert scaler.reconcile(HOLD, 5, asks_for(1, 5)) == 5


def test_a_period_counts_what_was_added_within_it() -> None:
    scaler = autoscaler(up=rules(("Pods", 2, 60)))
    assert scaler.reconcile(0, 2, asks_for(20, 2)) == 4
    assert scaler.reconcile(15, 4, asks_for(20, 4)) == 4
    assert scaler.reconcile(59, 4, asks_for(20, 4)) == 4
    assert scaler.reconcile(60, 4, asks_for(20, 4)) == 6


def test_a_period_counts_from_its_start_also_what_went_the_other_way() -> None:
    scaler = autoscaler(up=rules(("Pods", 2, 60)))
    assert scaler.reconcile(0, 6, asks_for(3, 6)) == 3
    # 6 at the period's start and 2 more: 8
    assert scaler.reconcile(15, 3, asks_for(20, 3)) == 8


def test_a_count_changed_by_hand_is_not_pushed_farther_the_wrong_way() -> None:
    scaler = autoscaler(up=rules(("Percent", 100, 60)))
    assert scaler.reconcile(0, 2, asks_for(20, 2)) == 4
    assert scaler.reconcile(15, 1, asks_for(20, 1)) == 1
    scaler = autoscaler(down=rules(("Percent", 10, 60)))
    assert scaler.reconcile(0, 20, asks_for(1, 20)) == 18
    assert scaler.reconcile(15, 5, asks_for(1, 5)) == 5


def test_nothing_passes_minimum_and_maximum() -> None:
    scaler = autoscaler(maximum=10)
    assert scaler.reconcile(0, 4, asks_for(50, 4)) == 10
    assert scaler.reconcile(15, 12, asks_for(12, 12)) == 10
    assert scaler.reconcile(HOLD, 3, asks_for(0, 3)) == 1


def test_without_metrics_the_count_stays_as_it_is() -> None:
    scaler = autoscaler()
    assert scaler.reconcile(0, 4, [MISSING] * 4) == 4
    assert scaler.reconcile(HOLD, 4, [MISSING] * 4) == 4


@given(
    st.lists(st.integers(0, 4000), min_size=1, max_size=60),
    st.sampled_from(["Max", "Min"]),
    st.integers(1, 5),
    st.integers(10, 200),
)
def test_whatever_the_metric_does_replicas_keep_within_policies(
    loads: list[int], select: str, count: int, percent: int
) -> None:
    up = rules(("Pods", count, 30), ("Percent", percent, 30), select=select)
    down = rules(("Pods", 1, 60), window=120)
    spec = Autoscaling(
        min_replicas=2,
        max_replicas=12,
        target=Decimal(1),
        behavior=Behavior(scale_up=up, scale_down=down),
    )
    scaler = Autoscaler(spec)
    history = [2]
    for place, load in enumerate(loads):
        history.append(scaler.reconcile(15 * place, history[-1], pods(*[load] * history[-1])))

    for place in range(1, len(history)):
        before, after = history[place - 1], history[place]
        assert 2 <= after <= 12
        if after > before:
            begin = history[max(0, place - 2)]
            allowed = [begin + count, math.ceil(begin * (1 + percent / 100))]
            assert after <= (max(allowed) if select == "Max" else min(allowed))
        if after < before:
            assert after >= history[max(0, place - 4)] - 1


def test_a_policy_without_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="period_seconds"):
        Policy(type="Pods", value=1, period_seconds=1801)
    with pytest.raises(ValueError, match="maxReplicas: must be at least"):
        Autoscaling(min_replicas=3, max_replicas=2, target=Decimal(1))
