"""The queueing model against queueing theory, and the simulation against what must follow."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
import yaml

from app.settings import Admission
from monitoring.autoscaling.service import CAPACITY, MAX_WAIT, SCRAPE_INTERVAL, Pod
from monitoring.autoscaling.simulation import (
    Conditions,
    Outcome,
    Reading,
    averaged,
    highest,
    latest,
    latest_if_ready,
    simulate,
)
from monitoring.autoscaling.spec import Autoscaling
from monitoring.autoscaling.traffic import LONE, MIXED, Mix, Trace, draw
from monitoring.generate import PROMETHEUS

CONDITIONS = Conditions(cold_start=30, threshold=0.25, allowed_wait=0.2)


def spec(minimum: int, maximum: int, target: str = "0.15") -> Autoscaling:
    return Autoscaling(min_replicas=minimum, max_replicas=maximum, target=Decimal(target))


def run(
    trace: Trace,
    autoscaling: Autoscaling,
    mix: Mix = LONE,
    conditions: Conditions = CONDITIONS,
    read: Reading = latest_if_ready,
) -> Outcome:
    return simulate(trace, draw(trace, mix, seed=3), autoscaling, conditions, read)


SURGE = Trace("surge", 600, lambda at: 800.0 if at >= 120 else 80.0)


def steady(load: float, pods: int, seconds: int = 1500) -> Trace:
    """Traffic that keeps each of the pods busy for the share `load` of the time."""
    return Trace("steady", seconds, lambda _: load * pods * CAPACITY)


@pytest.mark.parametrize("mix", [LONE, MIXED])
@pytest.mark.parametrize("load", [0.4, 0.7])
def test_waits_are_those_of_pollaczek_and_khinchine(load: float, mix: Mix) -> None:
    texts, shares = np.array(mix.texts), np.array(mix.shares)
    mean = (texts * shares).sum() / CAPACITY
    mean_square = ((texts**2 + mix.cost_deviation**2 * texts) * shares).sum() / CAPACITY**2

    outcome = run(steady(load, 3), spec(3, 3), mix)

    expected = load / mean * mean_square / (2 * (1 - load))
    assert outcome.waits.mean() == pytest.approx(expected, rel=0.1)
    assert outcome.refused_share == 0


def test_an_overloaded_pod_admits_what_it_can_do_and_keeps_the_bound() -> None:
    outcome = run(steady(2.0, 2, seconds=600), spec(2, 2))

    assert outcome.refused_share == pytest.approx(0.5, abs=0.02)
    assert np.nanmax(outcome.waits) <= MAX_WAIT
    assert max(outcome.saturation) == pytest.approx(MAX_WAIT / CONDITIONS.allowed_wait, rel=0.05)
    assert outcome.good_share < 0.02
    assert outcome.bad_seconds >= 580


def test_the_same_arguments_give_the_same_outcome() -> None:
    first, second = (run(SURGE, spec(2, 10), MIXED) for _ in range(2))

    assert first.asked == second.asked
    assert np.array_equal(first.waits, second.waits, equal_nan=True)


def test_pods_are_asked_for_soon_and_help_after_the_cold_start() -> None:
    outcome = run(SURGE, spec(2, 10), MIXED, replace(CONDITIONS, cold_start=90))

    asked = next(second for second, pods in enumerate(outcome.asked) if pods > 2)
    ready = next(second for second, pods in enumerate(outcome.ready) if pods > 2)
    assert 120 < asked <= 120 + 30
    assert ready == asked + 90
    assert outcome.pod_seconds == sum(outcome.asked)


def test_without_metrics_the_replicas_stay() -> None:
    outcome = run(SURGE, spec(2, 10), MIXED, read=lambda pod, now: None)

    assert set(outcome.asked) == {2}
    assert outcome.turns == 0


def test_what_is_scaled_down_is_first_what_is_not_ready() -> None:
    """Kubernetes' own behaviour after a short burst: what was started for it goes before it was ready."""
    burst = Trace("burst", 900, lambda at: 2000.0 if 100 <= at < 130 else 10.0)
    outcome = run(burst, spec(2, 10), conditions=replace(CONDITIONS, cold_start=700), read=latest)

    assert max(outcome.asked) == 10
    assert outcome.asked[-1] == 2
    assert set(outcome.ready) == {2}
    assert outcome.turns == 1


def test_the_model_has_the_services_limits_and_the_clusters_pace() -> None:
    assert Admission().max_wait == MAX_WAIT
    prometheus = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    assert prometheus["global"]["scrape_interval"] == f"{SCRAPE_INTERVAL}s"


def test_each_query_reads_what_it_says() -> None:
    pod = Pod(created=0, running=10, ready=30)
    for now, saturation in ((5, 9.0), (20, 0.0), (35, 4.0), (50, 1.0)):
        pod.free = now + saturation * 0.2
        pod.scrape(now, allowed_wait=0.2)

    assert [when for when, _ in pod.samples] == [20, 35, 50]  # not while it was pending
    assert latest(pod, 55) == pytest.approx(1)
    assert averaged(60)(pod, 55) == pytest.approx(2.5)  # without the 0 before it was ready
    assert highest(60)(pod, 55) == pytest.approx(4)
    assert averaged(15)(pod, 64) == pytest.approx(1)
    starting = Pod(created=0, running=10, ready=30)
    starting.scrape(20, allowed_wait=0.2)
    assert latest(starting, 25) == 0
    assert latest_if_ready(starting, 25) is None
    assert highest(60)(starting, 25) is None
