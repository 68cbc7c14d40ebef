"""What it costs to see: the service with all telemetry against the same without any, in one run."""

import os
import socket
import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.contenders import BY_NAME, Contender
from tests.bench.load import Measured, closed, write_requests
from tests.bench.running import Running, started
from tests.bench.sink import collector
from tests.texts import texts

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]
PAIRS = int(os.environ.get("BENCH_PAIRS", "9"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "8"))
CLIENTS = 32


@pytest.fixture
def sink() -> Iterator[str]:
    with collector() as address:
        yield address


@pytest.fixture
def hanging() -> Iterator[str]:
    """A collector that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


GLASS = BY_NAME["vitrine"]
DARK = replace(GLASS, name="vitrine-dark", command=("{bin}/python", "-m", "tests.bench.dark_server"))
"""The same without any telemetry."""


@contextmanager
def two(minilm: Path, one: Contender, other: Contender, *endpoints: str) -> Iterator[tuple[Running, Running]]:
    """Both run at once, each sending its spans to its endpoint; their logs go to files."""
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(
                started(
                    contender,
                    minilm,
                    dtype="float32",
                    text="glass",
                    variables={"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint},
                )
            )
            for contender, endpoint in zip((one, other), endpoints, strict=True)
        )
        yield first, second


def embeddings_of(asked: list[str], folder: Path) -> Path:
    bodies = [{"model": "all-MiniLM-L6-v2", "input": text} for text in asked]
    return write_requests(folder / "requests", "/v1/embeddings", bodies)


def alternate(requests: Path, one: Running, other: Running) -> tuple[list[Measured], list[Measured]]:
    """Pairs of runs, each server first in every other pair, after a warm-up of both."""
    runs: dict[int, list[Measured]] = {one.port: [], other.port: []}
    for pair in range(PAIRS + 1):
        for server in (one, other) if pair % 2 else (other, one):
            measured = closed(requests, server.port, clients=CLIENTS, seconds=SECONDS)
            assert measured.errors == 0
            if pair:
                runs[server.port].append(measured)
    return runs[one.port], runs[other.port]


def tell(name: str, pairs: list[tuple[float, float]]) -> float:
    ratios = sorted(one / other for one, other in pairs)
    median = statistics.median(ratios)
    ones, others = (statistics.median(values) for values in zip(*pairs, strict=True))
    print(
        f"{name}: {ones:.4g} against {others:.4g}, ratio {median:.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
    )
    return median


def test_throughput_with_all_telemetry_on(minilm: Path, tmp_path: Path, sink: str) -> None:
    requests = embeddings_of(texts(1000), tmp_path)
    with two(minilm, GLASS, DARK, sink, sink) as (glass, dark):
        on, off = alternate(requests, glass, dark)
    print(
        f"\nMiniLM, {CLIENTS} clients, {PAIRS} pairs of {SECONDS} s, all spans exported, against none of it"
    )
    rate = tell("texts/s", [(a.rate, b.rate) for a, b in zip(on, off, strict=True)])
    tell("p99 s", [(a.latency.p99, b.latency.p99) for a, b in zip(on, off, strict=True)])
    assert rate >= 0.97


def test_a_hanging_collector_costs_the_requests_nothing(
    minilm: Path, tmp_path: Path, sink: str, hanging: str
) -> None:
    requests = embeddings_of(texts(1000), tmp_path)
    with two(minilm, replace(GLASS, name="vitrine-stuck"), GLASS, hanging, sink) as (stuck, well):
        with_hang, without = alternate(requests, stuck, well)
    print(
        f"\nMiniLM, {CLIENTS} clients, {PAIRS} pairs of {SECONDS} s, a hanging collector against a good one"
    )
    assert (
        tell("p99 s", [(a.latency.p99, b.latency.p99) for a, b in zip(with_hang, without, strict=True)]) < 1.1
    )
    assert tell("texts/s", [(a.rate, b.rate) for a, b in zip(with_hang, without, strict=True)]) > 0.95
