"""docs/metrics.md against the running server, both ways."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import promql_parser
import pytest
from prometheus_client.metrics_core import Metric

from app.telemetry.gpu.metrics import declarations
from app.telemetry.gpu.readings import CLOCKS_EVENT_REASONS
from tests.metrics.scraping import scrape
from tests.running import running

DOCUMENT = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
FACTS = re.compile(r"(Counter|Gauge|Histogram|Info)\. Unit: ([^.]+)\. Labels: ([^.]+)\.")
QUERY = re.compile(r"```promql\n(.*?)```", re.DOTALL)
SUFFIX = {"counter": "_total", "info": "_info"}

Labels = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A metric as the document has it; a label without values is free."""

    name: str
    kind: str
    labels: Labels
    question: str
    query: str


def entries() -> Iterator[Entry]:
    _, *sections = re.split(r"^### ", DOCUMENT, flags=re.MULTILINE)
    for section in sections:
        heading, facts, question, rest = section.split("\n\n", 3)
        found = FACTS.match(" ".join(facts.split()))
        assert found, heading
        kind, unit, labels = found.groups()
        assert unit
        yield Entry(
            heading.strip("`"),
            kind.lower(),
            dict(map(label, labels.split("; "))) if labels != "none" else {},
            question,
            QUERY.findall(rest)[0],
        )


def label(text: str) -> tuple[str, frozenset[str]]:
    name, _, values = text.partition(" = ")
    return name.strip("`"), frozenset(values.split(", ")) if values else frozenset()


def name_of(family: Metric) -> str:
    return family.name + SUFFIX.get(family.type, "")


ENTRIES = list(entries())
NAMES = [entry.name for entry in ENTRIES]


@pytest.mark.anyio
async def test_each_metric_is_documented_and_each_documented_one_is_there() -> None:
    async with running() as service:
        await service.embed("one")
        service.app.tracing.counts.last_success = 1.0
        seen = await scrape(service.ops_url)
    exposed: dict[str, tuple[str, Labels]] = {}
    for family in seen.families:
        names = {name for sample in family.samples for name in sample.labels} - {"le"}
        values = {name: frozenset(sample.labels[name] for sample in family.samples) for name in names}
        exposed[name_of(family)] = family.type, values
    gpu = {name_of(family): (family.type, set(family._labelnames)) for family in declarations()}

    documented = {entry.name: (entry.kind, entry.labels.keys()) for entry in ENTRIES}
    assert len(documented) == len(ENTRIES)
    assert documented == {name: (kind, labels.keys()) for name, (kind, labels) in exposed.items()} | gpu

    for entry in ENTRIES:
        if entry.name not in exposed:
            continue
        _, labels = exposed[entry.name]
        for name, allowed in entry.labels.items():
            # All that can be is there from the start, but for HTTP and for what is always the same.
            complete = entry.name not in {"http_server_request_duration_seconds", "inference_model_info"}
            if allowed:
                assert labels[name] == allowed if complete else labels[name] < allowed, (entry.name, name)


def test_the_reasons_for_low_clocks_are_those_that_are_asked_for() -> None:
    (entry,) = (entry for entry in ENTRIES if entry.name == "gpu_clocks_event_reason")
    assert entry.labels["reason"] == CLOCKS_EVENT_REASONS.keys()


@pytest.mark.parametrize("entry", ENTRIES, ids=NAMES)
def test_a_metric_answers_a_question_with_a_query(entry: Entry) -> None:
    assert "?" in entry.question
    assert entry.name in entry.query


@pytest.mark.parametrize("query", QUERY.findall(DOCUMENT))
def test_a_query_parses_and_names_what_there_is(query: str) -> None:
    promql_parser.parse(query)
    for name in re.findall(
        r"\b(?:http_server|inference|telemetry|process|gpu)_\w+", re.sub(r'"[^"]*"', "", query)
    ):
        assert re.sub("_(bucket|sum|count)$", "", name) in NAMES
