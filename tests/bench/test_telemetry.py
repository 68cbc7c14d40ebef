"""What it costs to see: the service with all telemetry against the same without any, in one run."""

import os
import socket
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.load import Measured, closed, write_requests
from tests.bench.sink import collector
from tests.live.conftest import Server
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


def start(program: list[str], minilm: Path, folder: Path, **environment: str) -> Server:
    settings = {"APP_MODEL": str(minilm), "APP_ADMISSION__MAX_WAIT": "30", **environment}
    return Server([sys.executable, *program], settings, folder).wait_until_ready()


def embeddings_of(asked: list[str], folder: Path) -> Path:
    bodies = [{"model": "all-MiniLM-L6-v2", "input": text} for text in asked]
    return write_requests(folder / "requests", "/v1/embeddings", bodies)


def alternate(requests: Path, one: Server, other: Server) -> tuple[list[Measured], list[Measured]]:
    """Pairs of runs, each server first in every other pair, after a warm-up of both."""
    runs: dict[Server, list[Measured]] = {one: [], other: []}
    for pair in range(PAIRS + 1):
        for server in (one, other) if pair % 2 else (other, one):
            measured = closed(requests, server.port, clients=CLIENTS, seconds=SECONDS)
            assert measured.errors == 0
            if pair:
                runs[server].append(measured)
    return runs[one], runs[other]


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
    glass = start(["-m", "app", "serve"], minilm, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=sink)
    dark = start(["-m", "tests.bench.dark_server"], minilm, tmp_path)
    try:
        on, off = alternate(requests, glass, dark)
    finally:
        glass.close()
        dark.close()
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
    stuck = start(["-m", "app", "serve"], minilm, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=hanging)
    well = start(["-m", "app", "serve"], minilm, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=sink)
    try:
        with_hang, without = alternate(requests, stuck, well)
    finally:
        stuck.close()
        well.close()
    print(
        f"\nMiniLM, {CLIENTS} clients, {PAIRS} pairs of {SECONDS} s, a hanging collector against a good one"
    )
    assert (
        tell("p99 s", [(a.latency.p99, b.latency.p99) for a, b in zip(with_hang, without, strict=True)]) < 1.1
    )
    assert tell("texts/s", [(a.rate, b.rate) for a, b in zip(with_hang, without, strict=True)]) > 0.95
