"""The load generator tells the truth: against a server whose delays are known, and beside wrk."""

import json
import re
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tests.bench.delaying import delaying
from tests.bench.load import arrivals, closed, open_loop, read_answers, write_requests

NUMBERS = 1000


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    return write_requests(tmp_path / "requests", "/", [{"n": n} for n in range(NUMBERS)])


def test_quantiles_are_those_of_the_delays(requests: Path) -> None:
    # 3 of 100 take 200 ms, the others 20 ms
    with delaying(lambda n: (200, 0.2 if n % 100 < 3 else 0.02)) as server:
        began = time.process_time()
        measured = open_loop(requests, server.port, rate=400, seconds=0.8, seed=1)
        taken = time.process_time() - began
    assert measured.errors == 0
    # Never less than the delays, and in a machine's hiccups more
    assert 0.02 <= measured.latency.p50 < 0.1
    assert 0.2 <= measured.latency.p99 < 0.5
    # The load itself costs little, beside this process, whose server only waits, and is in time
    assert measured.cpu_seconds < taken / 2
    assert measured.lateness.p50 < 0.01


def test_arrivals_are_a_poisson_process(requests: Path) -> None:
    due = np.array(arrivals(requests, rate=200, seconds=100, seed=2))
    assert len(due) == pytest.approx(20_000, abs=4 * 20_000**0.5)
    gaps = np.sort(np.diff(due, prepend=0.0))
    # Kolmogorov's distance to the exponential distribution, at the 0.1 % level
    expected = 1 - np.exp(-gaps * 200)
    assert np.abs(expected - np.arange(len(gaps)) / len(gaps)).max() < 1.95 / len(gaps) ** 0.5
    # A gap tells nothing of the next
    gaps = np.diff(due)
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 0.03


def test_each_request_is_sent_when_it_is_due(requests: Path) -> None:
    with delaying(lambda _: (200, 0.0)) as server:
        measured = open_loop(requests, server.port, rate=200, seconds=0.6, seed=2)
        came = np.array(server.arrivals)
    due = np.array(arrivals(requests, rate=200, seconds=0.6, seed=2))
    assert measured.sent == len(came) == len(due)
    # The start is not known; all else is. In the median, since machines have hiccups.
    late = came - due
    assert np.median(late) - late.min() < 0.02


def test_what_a_stall_delays_is_counted_from_when_it_was_due(requests: Path) -> None:
    with delaying(lambda _: (200, 0.001), stall=0.5) as server:
        opened = open_loop(requests, server.port, rate=300, seconds=1.2, seed=3)
    # Two in five came during the stall, and waited for its end: half of them more than half of it
    assert opened.errors == 0
    assert opened.latency.p95 > 0.35
    assert opened.sent - opened.within_objective > 0.12 * opened.sent


def test_every_refusal_and_breach_is_counted(requests: Path) -> None:
    with delaying(
        lambda n: (429 if n % 4 == 0 else 500 if n % 4 == 1 else 200, 0.005), chunked=True
    ) as server:
        measured = closed(requests, server.port, clients=8, seconds=0.3)
    assert measured.statuses["429"] == measured.refused == pytest.approx(measured.sent / 4, abs=1)
    assert measured.errors == measured.statuses["429"] + measured.statuses["500"]
    assert measured.ok == measured.sent - measured.errors
    gone = closed(requests, server.port, clients=3, seconds=0.1)
    assert (gone.sent, gone.ok, gone.no_connection) == (3, 0, 3)


@pytest.mark.parametrize("chunked", [False, True])
def test_answers_are_kept_with_their_requests(requests: Path, tmp_path: Path, chunked: bool) -> None:
    with delaying(lambda n: (200, n % 7 * 1e-3), chunked=chunked) as server:
        measured = closed(requests, server.port, clients=16, seconds=0.3, answers=tmp_path / "answers")
    kept = read_answers(tmp_path / "answers")
    assert len(kept) == measured.ok
    assert all(json.loads(body) == {"n": number} for number, body in kept)


def test_a_closed_loop_finds_the_rate_that_wrk_finds(requests: Path, tmp_path: Path) -> None:
    script = tmp_path / "post.lua"
    script.write_text('wrk.method = "POST"\nwrk.body = \'{"n": 1}\'\n')
    with delaying(lambda _: (200, 0.05)) as server:
        command = ["wrk", "-t1", "-c8", "-d1s", "-s", str(script), f"http://127.0.0.1:{server.port}/"]
        # Both at once, so that they have the same machine
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as wrk:
            own = closed(requests, server.port, clients=8, seconds=1)
            said, _ = wrk.communicate()
    found = re.search(r"Requests/sec: +([\d.]+)", said)
    assert found, said
    # Never above what the delay allows
    assert own.rate <= 8 / 0.05
    assert own.rate == pytest.approx(float(found[1]), rel=0.15)
