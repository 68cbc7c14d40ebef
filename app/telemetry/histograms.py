"""Histograms whose observations are put into their buckets when somebody asks, many at once.

prometheus_client's own take each under a lock at once, and an exemplar costs as much again, though nearly
every one is replaced by the next before a scrape sees it. To keep an observation costs a tenth of that, and
to put a thousand into their buckets as little.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from opentelemetry.trace import format_trace_id
from prometheus_client.core import Exemplar, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import INF, floatToGoString

MOST = 4096
"""Observations of a series that are kept: to put them into their buckets takes a millisecond."""


class Series:
    """One histogram's observations with certain labels. Of one thread only."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = np.array(bounds)
        go_string: Callable[[float], str] = floatToGoString
        self._names = [go_string(bound) for bound in (*bounds, INF)]
        self._counts = np.zeros(len(self._names), np.int64)
        self._sum = 0.0
        self._exemplars: dict[int, Exemplar] = {}
        self._values: list[float] = []
        self._traces: list[int | None] = []

    def observe(self, value: float, trace_id: int | None = None) -> None:
        """Count `value`, with the trace as the exemplar of its bucket if there is one."""
        self._values.append(value)
        self._traces.append(trace_id)
        if len(self._values) >= MOST:
            self._count()

    def _count(self) -> None:
        values = np.array(self._values)
        buckets = np.searchsorted(self._bounds, values)
        self._counts += np.bincount(buckets, minlength=len(self._counts))
        self._sum += float(values.sum())
        traced = {
            bucket: (trace_id, value)
            for bucket, trace_id, value in zip(buckets.tolist(), self._traces, self._values, strict=True)
            if trace_id is not None
        }
        for bucket, (trace_id, value) in traced.items():
            exemplar = Exemplar({"trace_id": format_trace_id(trace_id)}, value, time.time())
            self._exemplars[bucket] = exemplar
        self._values.clear()
        self._traces.clear()

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """All that was observed so far."""
        if self._values:
            self._count()
        ranks = self._counts.cumsum().tolist()
        buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = [
            (name, rank, self._exemplars[bucket]) if bucket in self._exemplars else (name, rank)
            for bucket, (name, rank) in enumerate(zip(self._names, ranks, strict=True))
        ]
        family.add_metric(labels, buckets, self._sum)


class Histogram(Collector):
    """A series for each combination of labels that was asked for."""

    def __init__(self, name: str, documentation: str, labels: Iterable[str], bounds: Sequence[float]) -> None:
        """`bounds` are the buckets' upper ones but for the last, which has none; they are inclusive."""
        self._name = name
        self._documentation = documentation
        self._labels = tuple(labels)
        self._bounds = bounds
        self._series: dict[tuple[str, ...], Series] = {}

    def labels(self, *values: str) -> Series:
        """The series with these values, which begins at 0 if it is new."""
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = Series(self._bounds)
        return series

    def collect(self) -> Iterator[Metric]:
        """As prometheus_client's own."""
        family = self._family()
        for values, series in self._series.items():
            series.add_to(family, values)
        yield family

    def describe(self) -> Iterator[Metric]:
        """Its name, so that a registry takes no other of that name."""
        yield self._family()

    def _family(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
