"""What a caller with the latency objective gets when more requests come than can be answered."""

import os
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.compare import find_knee
from tests.bench.conftest import Serve
from tests.bench.corpus import corpus
from tests.bench.load import OBJECTIVE, closed, open_loop

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]
SECONDS = float(os.environ.get("BENCH_SECONDS", "15"))
REPEATS = int(os.environ.get("BENCH_REPEATS", "5"))


def test_goodput_at_twice_the_knee_stays(serve: Serve, ask: Callable[..., Path]) -> None:
    server = serve()
    requests = ask(corpus(1000), x_request_timeout_ms=f"{OBJECTIVE * 1e3:.0f}")
    plain = ask(corpus(999))
    capacity = closed(plain, server.port, clients=8, seconds=SECONDS / 2).rate

    def holds(rate: float) -> bool:
        return open_loop(requests, server.port, rate=rate, seconds=SECONDS, seed=1).meets_objective

    knee = find_knee(holds, capacity)
    assert knee, "the objective holds at no rate"
    pairs = [
        tuple(
            open_loop(requests, server.port, rate=rate, seconds=SECONDS, seed=seed)
            for rate in (knee, 2 * knee)
        )
        for seed in range(2, 2 + REPEATS)
    ]
    at_knee = statistics.median(one.goodput for one, _ in pairs)
    at_twice = statistics.median(two.goodput for _, two in pairs)
    refused = statistics.median(two.refused / two.sent for _, two in pairs)
    print(
        f"\ncapacity {capacity:.0f}/s in a closed loop of 8; the objective holds up to {knee:.0f}/s, "
        f"{at_knee:.0f}/s in time there; of twice as many {at_twice:.0f}/s in time, {refused:.0%} refused"
    )
    assert at_twice >= 0.9 * at_knee
