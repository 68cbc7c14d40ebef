"""`python -m monitoring.capacity`: what a rate of requests needs and brings, as tables in docs/scaling.md.

Arithmetic on what was measured on one pod (MEASURED, TELEMETRY) and on what Kubernetes and Prometheus say of
themselves (LIMITS); docs/scaling.md names the sources.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from monitoring import balancing

PAGE = Path("docs/scaling.md")


@dataclass(frozen=True)
class Measured:
    """One pod with two cores, MiniLM in float32 (docs/performance.md)."""

    texts_per_second: float
    """At the knee of the open loop: the highest Poisson rate at which the latency objective holds."""
    tokens_per_text: float
    cores: int

    @property
    def tokens_per_second(self) -> float:
        """What a pod reads while it keeps the objective."""
        return self.texts_per_second * self.tokens_per_text


@dataclass(frozen=True)
class Telemetry:
    """What a pod and a request send away (tests/bench/test_telemetry_volume.py)."""

    series_per_pod: float
    scrape_bytes: float
    scrape_interval: float
    """Seconds, of monitoring/prometheus/prometheus.yml."""
    spans_per_request: float
    bytes_per_span: float
    log_bytes_per_request: float
    prometheus_bytes_per_series: float
    bytes_per_sample: float
    """On disk, after compaction."""


@dataclass(frozen=True)
class Limits:
    """Where one of a thing ends."""

    series_per_prometheus: float
    """So many that its memory is tens of GB and a restart replays its log for minutes."""
    pods_per_cluster: float
    pods_per_service: float
    """From where the rules of kube-proxy and the churn of endpoints call for more than one Service."""
    endpoints_per_slice: float
    sampled_traces: float
    """Traces per second that are worth keeping: enough for exemplars and for every rare path."""


MEASURED = Measured(texts_per_second=286, tokens_per_text=42, cores=2)
TELEMETRY = Telemetry(
    series_per_pod=320,
    scrape_bytes=38_000,
    scrape_interval=15,
    spans_per_request=4.3,
    bytes_per_span=300,
    log_bytes_per_request=480,
    prometheus_bytes_per_series=3800,
    bytes_per_sample=1.7,
)
LIMITS = Limits(
    series_per_prometheus=5e6,
    pods_per_cluster=150_000,
    pods_per_service=1000,
    endpoints_per_slice=100,
    sampled_traces=1000,
)
FULL = 0.6
"""How full pods are, of their knee: the rest is for bursts, a lost zone and the time that new pods take."""
RATES = (1_000, 100_000, 10_000_000)
DAYS = 30


@dataclass(frozen=True)
class Plan:
    """What a rate of requests, a text each, comes to."""

    requests: float

    @property
    def tokens(self) -> float:
        """Per second."""
        return self.requests * MEASURED.tokens_per_text

    @property
    def pods(self) -> int:
        """Filled to `FULL` of their knee."""
        return math.ceil(self.requests / (MEASURED.texts_per_second * FULL))

    @property
    def series(self) -> float:
        """Active in Prometheus, of the pods alone."""
        return self.pods * TELEMETRY.series_per_pod

    @property
    def samples(self) -> float:
        """Per second."""
        return self.series / TELEMETRY.scrape_interval

    @property
    def scrape_bytes(self) -> float:
        """Per second, over the network."""
        return self.pods * TELEMETRY.scrape_bytes / TELEMETRY.scrape_interval

    @property
    def prometheus_memory(self) -> float:
        """Bytes."""
        return self.series * TELEMETRY.prometheus_bytes_per_series

    @property
    def prometheus_disk(self) -> float:
        """Bytes for the objectives' window; a fifth for blocks that straddle its end and for compaction."""
        return self.samples * TELEMETRY.bytes_per_sample * DAYS * 86400 * 1.2

    @property
    def spans(self) -> float:
        """Per second, if all are sampled."""
        return self.requests * TELEMETRY.spans_per_request

    @property
    def span_bytes(self) -> float:
        """Per second, if all are sampled."""
        return self.spans * TELEMETRY.bytes_per_span

    @property
    def sample_ratio(self) -> float:
        """Of traces: what leaves as many as are worth keeping."""
        return min(1.0, LIMITS.sampled_traces / self.requests)

    @property
    def log_bytes(self) -> float:
        """Per day, if each request is logged."""
        return self.requests * TELEMETRY.log_bytes_per_request * 86400


def _count(value: float) -> str:
    for size, unit in ((1e9, " billion"), (1e6, " million")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{math.ceil(value):,}" if value >= 100 else f"{value:.3g}"


def _bytes(value: float) -> str:
    for size, unit in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f} B"


def _shards(value: float, limit: float) -> str:
    return _count(math.ceil(value / limit))


def capacity_table() -> str:
    """Rows of quantities, a column for each rate."""
    plans = [Plan(rate) for rate in RATES]
    pods_of = LIMITS.pods_per_service
    rows = [
        ("tokens per second", [_count(plan.tokens) for plan in plans]),
        (f"pods, {FULL:.0%} full", [_count(plan.pods) for plan in plans]),
        ("cores for them", [_count(plan.pods * MEASURED.cores) for plan in plans]),
        ("active series", [_count(plan.series) for plan in plans]),
        ("samples per second", [_count(plan.samples) for plan in plans]),
        ("scrapes, bytes per second", [_bytes(plan.scrape_bytes) for plan in plans]),
        ("Prometheus' memory", [_bytes(plan.prometheus_memory) for plan in plans]),
        (f"Prometheus' disk, {DAYS} days", [_bytes(plan.prometheus_disk) for plan in plans]),
        ("Prometheus shards", [_shards(plan.series, LIMITS.series_per_prometheus) for plan in plans]),
        ("spans per second, all sampled", [_count(plan.spans) for plan in plans]),
        ("their bytes per second", [_bytes(plan.span_bytes) for plan in plans]),
        ("sampling ratio", [f"{plan.sample_ratio:g}" for plan in plans]),
        ("spans per second then", [_count(plan.spans * plan.sample_ratio) for plan in plans]),
        ("log, bytes per day, each request", [_bytes(plan.log_bytes) for plan in plans]),
        ("endpoint slices", [_shards(plan.pods, LIMITS.endpoints_per_slice) for plan in plans]),
        ("Services", [_shards(plan.pods, pods_of) for plan in plans]),
        ("clusters, at the most pods", [_shards(plan.pods, LIMITS.pods_per_cluster) for plan in plans]),
    ]
    head = ["requests per second", *(_count(rate) for rate in RATES)]
    lines = [head, ["---", *["---:"] * len(RATES)], *([name, *cells] for name, cells in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def inputs_table() -> str:
    """The constants, so that the page cannot say others."""
    rows = [
        ("texts per second of a pod, objective held", f"{MEASURED.texts_per_second:g}"),
        ("tokens of a text", f"{MEASURED.tokens_per_text:g}"),
        ("tokens per second of a pod", _count(MEASURED.tokens_per_second)),
        ("cores of a pod", f"{MEASURED.cores}"),
        ("how full a pod is", f"{FULL:g}"),
        ("series of a pod", f"{TELEMETRY.series_per_pod:g}"),
        ("bytes of a scrape, uncompressed", f"{TELEMETRY.scrape_bytes:,.0f}"),
        ("scrape interval", f"{TELEMETRY.scrape_interval:g} s"),
        ("Prometheus' memory for a series", _bytes(TELEMETRY.prometheus_bytes_per_series)),
        ("bytes of a sample on disk", f"{TELEMETRY.bytes_per_sample:g}"),
        ("spans of a request", f"{TELEMETRY.spans_per_request:g}"),
        ("bytes of a span", f"{TELEMETRY.bytes_per_span:g}"),
        ("log bytes of a request", f"{TELEMETRY.log_bytes_per_request:g}"),
    ]
    return "| | |\n|---|---:|\n" + "\n".join(f"| {name} | {value} |" for name, value in rows)


def filled_in(page: str) -> str:
    """The page with the tables as they come out now."""
    tables = {"inputs": inputs_table(), "capacity": capacity_table(), "balancing": balancing.table()}
    for name, table in tables.items():
        marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        page, found = marked.subn(rf"\g<1>{table}\n\g<2>", page)
        if found != 1:
            raise ValueError(f"{PAGE} must have the markers of {name} once")
    return page


if __name__ == "__main__":
    PAGE.write_text(filled_in(PAGE.read_text()))
