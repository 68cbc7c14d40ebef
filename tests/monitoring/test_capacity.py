import math
from pathlib import Path

import pytest

from monitoring import balancing
from monitoring.capacity import FULL, LIMITS, MEASURED, PAGE, TELEMETRY, Plan, filled_in

ROOT = Path(__file__).parents[2]


def test_the_page_says_what_comes_out() -> None:
    page = (ROOT / PAGE).read_text()
    assert filled_in(page) == page, "run `python -m monitoring.capacity`"


def test_pods_hold_the_rate_and_one_fewer_does_not() -> None:
    plan = Plan(100_000)
    each = MEASURED.texts_per_second * FULL
    assert (plan.pods - 1) * each < 100_000 <= plan.pods * each


def test_monitoring_grows_with_pods_and_traces_with_requests() -> None:
    one, ten = Plan(100_000), Plan(1_000_000)
    assert ten.series / one.series == pytest.approx(10, rel=0.01)
    assert ten.prometheus_memory / one.prometheus_memory == pytest.approx(10, rel=0.01)
    assert one.spans == 100_000 * TELEMETRY.spans_per_request
    # Sampled, they stay
    assert one.spans * one.sample_ratio == pytest.approx(ten.spans * ten.sample_ratio)
    assert Plan(10).sample_ratio == 1


def test_what_the_page_says_in_words() -> None:
    # docs/scaling.md: the autoscaler's ten pods, doubling in seven minutes, one cluster on paper
    assert Plan(1_000).pods <= 10 < Plan(1_750).pods
    assert Plan(1_000).pods * 2**6 < Plan(100_000).pods <= Plan(1_000).pods * 2**7
    assert Plan(10_000_000).pods < LIMITS.pods_per_cluster
    assert round(Plan(10_000_000).pods * MEASURED.cores, -3) == 117_000


@pytest.mark.parametrize("utilisation", [0.5, 0.8])
def test_the_simulation_agrees_with_erlang(utilisation: float) -> None:
    spent = balancing.simulate(balancing.at_random, pods=1, utilisation=utilisation, requests=150_000)
    waited = sum(spent) / len(spent) - 1
    assert waited == pytest.approx(balancing.mean_in_line(utilisation, workers=2), rel=0.1)


def test_a_better_choice_is_worth_half_as_many_pods_again() -> None:
    # What docs/scaling.md says of the balancers in words: 0.9 / 0.6
    def p99(choice: balancing.Choice, utilisation: float) -> float:
        spent = balancing.simulate(choice, pods=100, utilisation=utilisation)
        return spent[int(0.99 * len(spent))]

    assert p99(balancing.better_of_two, 0.9) < p99(balancing.at_random, 0.6)


def test_with_nobody_in_line_only_service_is_left() -> None:
    spent = balancing.simulate(balancing.least_loaded, pods=100, utilisation=0.3)
    assert spent[int(0.99 * len(spent))] == pytest.approx(math.log(100), rel=0.05)
