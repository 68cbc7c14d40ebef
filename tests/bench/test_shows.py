"""What is claimed of the latest comparisons (`make bench`)."""

import statistics

import pytest

from tests.bench.figures import (
    OURS,
    against_best,
    knees,
    of_ceiling,
    of_lone_forward,
    over_rounds,
    p99,
    peers,
)
from tests.bench.results import Results

pytestmark = pytest.mark.bench
LEAST_TIMES_THE_BEST = {1: 1.5, 8: 1.5, 32: 1.5, 64: 1.3}


def latest(kind: str, dtype: str) -> Results:
    try:
        results = Results.read(kind, dtype)
    except FileNotFoundError:
        pytest.skip(f"no results: make bench ARGS='{kind} --dtype {dtype}'")
    assert not results.entries[OURS].skipped
    return results


@pytest.mark.parametrize(("dtype", "least"), [("float32", 0.9), ("bfloat16", 0.85)])
def test_http_and_telemetry_leave_most_of_the_ceiling(dtype: str, least: float) -> None:
    assert of_ceiling(latest("closed", dtype), 32).median >= least


def test_a_lone_client_waits_for_little_but_the_forward() -> None:
    assert of_lone_forward(latest("closed", "float32")).median <= 1.15


@pytest.mark.parametrize("clients", [1, 8, 32, 64])
def test_no_peer_is_near(clients: int) -> None:
    results = latest("closed", "float32")
    best, ratio = against_best(results, clients)
    print(f"\n{clients} clients: {ratio:.2f} times {best}")
    assert ratio >= LEAST_TIMES_THE_BEST[clients]


@pytest.mark.parametrize("clients", [1, 8, 32, 64])
def test_the_tail_is_no_worse_than_any_peers(clients: int) -> None:
    results = latest("closed", "float32")
    ours = over_rounds(results, OURS, clients, p99)
    assert ours
    theirs = {name: over_rounds(results, name, clients, p99) for name in peers(results)}
    assert ours.median <= min(found.median for found in theirs.values() if found)


def test_goodput_is_more_than_any_peers_and_stays_at_twice_the_knee() -> None:
    results = latest("open", "float32")
    ours = knees(results, OURS)
    goodput = statistics.median(knee.goodput for knee in ours)
    for name in peers(results):
        assert goodput > statistics.median([knee.goodput for knee in knees(results, name)] or [0.0]), name
    assert statistics.median(knee.goodput_at_twice for knee in ours) >= 0.9 * goodput
