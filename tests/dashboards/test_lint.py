"""What Grafana's dashboard-linter checks, and some more. Where we differ from it, the test says why."""

import re
from collections.abc import Iterator

import promql_parser
import pytest
from promql_parser import Expr, MatrixSelector, VectorSelector

from monitoring.catalogue import documented
from tests.dashboards.boards import BOARDS, PANELS, Board, Panel

OF_BOARDS = pytest.mark.parametrize("board", BOARDS, ids=str)
OF_PANELS = pytest.mark.parametrize("panel", PANELS, ids=str)
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

WITHOUT_A_UNIT = {"table"}
"""Whose columns are names."""


def _selectors(query: str) -> Iterator[VectorSelector]:
    nodes: list[Expr] = []
    promql_parser.walk(promql_parser.parse(query), nodes.append)
    for node in nodes:
        if isinstance(node, VectorSelector):
            yield node
        elif isinstance(node, MatrixSelector):
            yield node.vector_selector


def _matchers(selector: VectorSelector) -> set[str]:
    return {matcher.name for matcher in selector.matchers.matchers}


@OF_BOARDS
def test_a_dashboard_is_found_and_is_not_edited_in_the_browser(board: Board) -> None:
    content = board.content
    assert content["uid"] == f"vitrine-{board}"
    assert content["title"].startswith("Vitrine / ")
    assert content["description"]
    assert content["tags"] == ["vitrine"]
    assert content["editable"] is False
    assert content["refresh"] == "30s"


@OF_BOARDS
def test_its_datasource_can_be_chosen(board: Board) -> None:
    variable = next(iter(board.variables.values()))
    assert (variable["name"], variable["type"], variable["query"]) == (
        "datasource",
        "datasource",
        "prometheus",
    )
    assert variable["current"]["value"] == "prometheus"


@OF_BOARDS
def test_its_variables_are_filled_anew_and_match_what_lacks_the_label(board: Board) -> None:
    for variable in list(board.variables.values())[1:]:
        assert variable["datasource"] == DATASOURCE
        assert variable["multi"]
        if (str(board), variable["name"]) == ("autoscaling", "namespace"):
            # All would be the pods of the monitoring, too.
            assert not variable["includeAll"]
            assert variable["current"]["value"] == "vitrine"
        else:
            assert variable["includeAll"]
            # On a laptop there is no namespace: the linter's `.+` would match nothing.
            assert variable["allValue"] == ".*"
        assert variable["refresh"] == 2  # when the time range changes


def test_who_looks_at_instances_can_choose_them() -> None:
    """The job is always vitrine's, as in the rules. The overview is about the service as a whole."""
    names = {str(board): list(board.variables)[1:] for board in BOARDS}
    assert names == {
        "overview": [],
        "inference": ["namespace", "instance", "model"],
        "gpu": ["namespace", "instance"],
        "autoscaling": ["namespace", "pod"],
        "telemetry": ["namespace", "instance"],
    }


@OF_BOARDS
def test_rollouts_and_alerts_are_marked(board: Board) -> None:
    assert set(board.annotations) == {"Rollouts", "Alerts"}
    for mark in board.annotations.values():
        assert mark["datasource"] == DATASOURCE
        assert mark["enable"]
        assert mark["titleFormat"]


@OF_BOARDS
def test_it_leads_to_the_others_to_traces_and_to_runbooks(board: Board) -> None:
    others, traces, runbooks = board.content["links"]
    assert (others["type"], others["tags"]) == ("dashboards", ["vitrine"])
    assert others["keepTime"]
    assert others["includeVars"]
    assert traces["url"].startswith("/explore?")
    assert "jaeger" in traces["url"]
    assert runbooks["url"].endswith("/docs/runbooks/README.md")


@OF_BOARDS
def test_panels_have_ids_and_titles_of_their_own_and_fill_the_rows(board: Board) -> None:
    everything = board.content["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    titles = [panel.title for panel in board.panels]
    assert len(set(titles)) == len(titles)
    taken: set[tuple[int, int]] = set()
    for panel in everything:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    widths = {y: sum((x, y) in taken for x in range(24)) for _, y in taken}
    assert set(widths.values()) == {24}


@OF_PANELS
def test_a_panel_says_what_to_conclude(panel: Panel) -> None:
    assert panel.title
    description = panel.content["description"]
    assert len(description) > 40
    assert description.endswith(".")


@OF_PANELS
def test_a_panel_has_the_chosen_datasource_and_a_unit(panel: Panel) -> None:
    assert panel.content["datasource"] == DATASOURCE
    assert all(target["datasource"] == DATASOURCE for target in panel.targets)
    unit = panel.content["fieldConfig"]["defaults"]["unit"]
    assert unit
    assert (unit == "none") == (panel.content["type"] in WITHOUT_A_UNIT)


@OF_PANELS
def test_each_series_has_a_name(panel: Panel) -> None:
    assert 1 <= len(panel.targets) <= 8
    assert len({target["refId"] for target in panel.targets}) == len(panel.targets)
    for target in panel.targets:
        assert target["legendFormat"]
        # What tells the series of a query apart is in their names.
        grouped = re.search(r"^(?:sum|max) by \((.+?)\) ", target["expr"])
        for label in grouped[1].split(", ") if grouped else ():
            assert f"{{{{{label}}}}}" in target["legendFormat"]


@OF_PANELS
def test_rates_fit_the_zoom(panel: Panel) -> None:
    for target in panel.targets:
        ranges = re.findall(r"\[(.+?)\]", target["expr"])
        assert set(ranges) <= {"$__rate_interval"}


@OF_PANELS
def test_a_counter_is_looked_at_by_its_growth(panel: Panel) -> None:
    for query in panel.queries():
        for counter in re.findall(r"\b\w+_total\b", query):
            born = f"{counter}{{[^}}]*}} unless {counter}{{[^}}]*}} offset"  # what is new has no growth yet
            assert re.search(rf"(rate|increase)\({counter}\b|{born}", query), query


@OF_PANELS
def test_a_panel_looks_at_vitrine_only_and_at_what_was_chosen(panel: Panel) -> None:
    own = documented()
    chosen = {
        "inference": {"job", "namespace", "instance"},
        "gpu": {"job", "namespace", "instance"},
        "telemetry": {"job", "namespace", "instance"},
    }.get(panel.dashboard, {"job"})
    for query in panel.queries():
        for selector in _selectors(query):
            if selector.name in own:
                wanted = chosen | ({"model_name"} if "model_name" in own[selector.name] else set())
                if panel.dashboard != "inference":
                    wanted -= {"model_name"}
                assert wanted <= _matchers(selector), selector
            elif selector.name and selector.name.startswith(("slo:", "job:", "job_")):
                assert "job" in _matchers(selector), selector


LATENCIES = {"inference_request_duration_seconds_bucket", "inference_stage_duration_seconds_bucket"}


@OF_PANELS
def test_exactly_the_latencies_that_have_exemplars_show_them(panel: Panel) -> None:
    named = {selector.name for query in panel.queries() for selector in _selectors(query)}
    shown = [target for target in panel.targets if target.get("exemplar")]
    assert bool(shown) == bool(named & LATENCIES)
    for target in shown:
        assert any(name in target["expr"] for name in LATENCIES)
