"""Our histograms say what prometheus_client's own say."""

import random
import re

import prometheus_client
import pytest
from opentelemetry.trace import format_trace_id
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from app.telemetry import histograms
from app.telemetry.histograms import MOST, Histogram

BOUNDS = (0.001, 0.25, 1, 10)
GIVEN = "h_seconds", "What it measures.", ["one", "two"]


@pytest.fixture
def registries() -> tuple[CollectorRegistry, CollectorRegistry]:
    """Theirs and ours, with the same observations: more than are kept, and some on a bucket's bound."""
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's has no types
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    stock = prometheus_client.Histogram(*GIVEN, buckets=BOUNDS, registry=theirs)
    own = Histogram(*GIVEN, BOUNDS)
    ours.register(own)
    choose = random.Random(1)
    values = [*BOUNDS, 0, *(choose.expovariate(1) for _ in range(MOST))]
    for number, value in enumerate(values):
        trace = number if number % 3 else None
        exemplar = None if trace is None else {"trace_id": format_trace_id(trace)}
        stock.labels("a", "b").observe(value, exemplar)
        own.labels("a", "b").observe(value, trace)
    stock.labels("none", "yet")
    own.labels("none", "yet")
    return theirs, ours


def without_times(page: bytes) -> str:
    """The exemplars' times differ. Sums do in their last digit, by the order of adding up."""
    page_text = re.sub(r"(?m)( # \{\S+\} \S+) \S+$", r"\1", page.decode())
    return re.sub(r"(?m)(_sum\S* \d+\.\d{9})\d+$", r"\1", page_text)


def test_they_say_the_same(registries: tuple[CollectorRegistry, CollectorRegistry]) -> None:
    for write in (generate_latest, openmetrics.generate_latest):
        theirs, ours = (without_times(write(registry)) for registry in registries)
        assert sorted(ours.splitlines()) == sorted(theirs.splitlines())
        assert ours.splitlines()[:2] == theirs.splitlines()[:2]


def test_they_keep_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histograms, "MOST", 10)
    series = Histogram(*GIVEN, BOUNDS).labels("a", "b")
    for _ in range(101):
        series.observe(1)
    assert len(series._values) == len(series._traces) == 1


def test_a_name_is_taken_once() -> None:
    registry = CollectorRegistry()
    registry.register(Histogram(*GIVEN, BOUNDS))
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(Histogram(*GIVEN, BOUNDS))
