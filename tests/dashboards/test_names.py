"""What the dashboards ask for exists, and what the runbooks point at is there."""

import re
from pathlib import Path

import pytest
import yaml

from monitoring.catalogue import unknown_names
from monitoring.grafana.queries import filled_in
from monitoring.slo import load_slo
from tests.dashboards.boards import BOARDS, PANELS, RATE_INTERVAL, Board, Panel
from tests.monitoring.rules import ALERTS, RECORDED

RUNBOOKS = Path(__file__).parents[2] / "docs/runbooks"
TITLES = {board.content["title"].removeprefix("Vitrine / "): board for board in BOARDS}


@pytest.mark.parametrize("panel", PANELS, ids=str)
def test_each_name_in_a_panel_is_one_that_something_exposes(panel: Panel) -> None:
    for query in panel.queries():
        assert list(unknown_names(query, RECORDED)) == [], query


@pytest.mark.parametrize("panel", PANELS, ids=str)
def test_each_label_in_a_legend_is_one_that_the_series_can_have(panel: Panel) -> None:
    for target in panel.targets:
        query = filled_in(target["expr"], RATE_INTERVAL)
        for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
            assert list(unknown_names(f"count by ({label}) ({query})", RECORDED)) == [], label


@pytest.mark.parametrize("board", BOARDS, ids=str)
def test_each_name_in_an_annotation_or_variable_is_one_that_something_exposes(board: Board) -> None:
    for mark in board.annotations.values():
        assert list(unknown_names(mark["expr"], RECORDED)) == []
    for variable in list(board.variables.values())[1:]:
        asked = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
        assert asked, variable
        query = f"count by ({asked[2]}) ({filled_in(asked[1], RATE_INTERVAL)})"
        assert list(unknown_names(query, RECORDED)) == []


@pytest.mark.parametrize("panel", PANELS, ids=str)
def test_each_runbook_that_a_panel_links_to_is_there(panel: Panel) -> None:
    base = f"{load_slo().runbooks}/"
    for link in panel.content.get("links", ()):
        assert link["url"].startswith(base)
        assert (RUNBOOKS / link["url"].removeprefix(base)).exists()
        assert link["title"] == f"Runbook: {link['url'].removeprefix(base).removesuffix('.md')}"


def _named_in_runbooks() -> list[tuple[str, str, str]]:
    """Page, dashboard and panel of each «Dashboard X, panels "Y" and "Z"»."""
    found = []
    titles = "|".join(map(re.escape, TITLES))
    for page in sorted(RUNBOOKS.rglob("*.md")):
        text = " ".join(page.read_text().split())
        for dashboard, panels in re.findall(
            rf'[Dd]ashboard ({titles}), panels? ((?:(?:, | and )?"[^"]+")+)', text
        ):
            found += [(page.stem, dashboard, name) for name in re.findall(r'"([^"]+)"', panels)]
    return found


@pytest.mark.parametrize(("page", "dashboard", "name"), _named_in_runbooks())
def test_each_panel_that_a_runbook_names_is_there(page: str, dashboard: str, name: str) -> None:
    assert name in [panel.title for panel in TITLES[dashboard].panels], page


def test_each_dashboard_that_a_runbook_names_is_there() -> None:
    texts = [" ".join(page.read_text().split()) for page in RUNBOOKS.rglob("*.md")]
    named = sum(len(re.findall(r"[Dd]ashboard [A-Z]", text)) for text in texts)
    known = sum(len(re.findall(rf"[Dd]ashboard ({'|'.join(TITLES)})\b", text)) for text in texts)
    assert named == known > 20


def test_each_alert_has_a_panel_that_links_to_its_runbook() -> None:
    linked = {link["title"] for panel in PANELS for link in panel.content.get("links", ())}
    alerts = {rule.content["alert"] for rule in ALERTS}
    # What is absent cannot be drawn, and TargetDown has the panel of ModelNotReady.
    assert {name for name in alerts if f"Runbook: {name}" not in linked} == {
        "TargetAbsent",
        "MonitoringTargetAbsent",
        "GpuMetricsAbsent",
        "TargetDown",
    }


def test_the_queries_behind_a_span_parse_and_name_what_exists() -> None:
    path = Path(__file__).parents[2] / "monitoring/grafana/provisioning/datasources/vitrine.yaml"
    jaeger = next(
        source for source in yaml.safe_load(path.read_text())["datasources"] if source["uid"] == "jaeger"
    )
    links = jaeger["jsonData"]["tracesToMetrics"]
    (tag,) = links["tags"]
    for link in links["queries"]:
        query = link["query"].replace("$$__tags", f'{tag["value"]}="a"')
        assert list(unknown_names(query, RECORDED)) == [], query
