"""What a Prometheus sees of a running service."""

from collections.abc import Iterable
from dataclasses import dataclass

import httpx
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

OPENMETRICS = {"accept": "application/openmetrics-text;version=1.0.0"}


@dataclass(frozen=True, slots=True)
class Scrape:
    """One scrape."""

    families: tuple[Metric, ...]

    @property
    def samples(self) -> Iterable[Sample]:
        return (sample for family in self.families for sample in family.samples)

    @property
    def series(self) -> set[tuple[str, frozenset[tuple[str, str]]]]:
        return {(sample.name, frozenset(sample.labels.items())) for sample in self.samples}

    def find(self, name: str, **labels: str) -> list[Sample]:
        """The samples of this name that have these labels, whatever others."""
        return [
            sample
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def value(self, name: str, **labels: str) -> float:
        """Of the one sample that there is."""
        (sample,) = self.find(name, **labels)
        return sample.value

    def by(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """The values by `label`, without those that are 0."""
        return {sample.labels[label]: sample.value for sample in self.find(name, **labels) if sample.value}


async def scrape(ops_url: str) -> Scrape:
    """Ask as Prometheus does; the parser is a strict one."""
    async with httpx.AsyncClient(base_url=ops_url) as client:
        response = await client.get("/metrics", headers=OPENMETRICS)
    assert response.status_code == 200, response.text
    return Scrape(tuple(text_string_to_metric_families(response.text)))  # type: ignore[no-untyped-call]
