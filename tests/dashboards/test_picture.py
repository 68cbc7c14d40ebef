"""The picture in the docs shows the Overview as it is."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from monitoring.grafana.drawing import Window, draw
from monitoring.grafana.fingerprint import fingerprint, stamped
from monitoring.grafana.generate import DASHBOARDS, generate
from monitoring.grafana.picture import PICTURE, ROWS
from monitoring.slo import load_slo
from tests.dashboards.boards import PANELS
from tests.monitoring.rules import slo_text

OVERVIEW = DASHBOARDS / "overview.json"


class Answered(Window):
    """Without Prometheus: every query has the same two values."""

    def _ask(self, what: str, asked: Mapping[str, object]) -> Any:
        labels = dict.fromkeys(("alertname", "severity", "http_response_status_code", "reason", "stage"), "a")
        return [{"metric": labels, "values": [[self.start, "1"], [self.end, "2"]]}]


def test_each_panel_of_the_picture_is_on_the_overview() -> None:
    titles = {panel.title for panel in PANELS if panel.dashboard == "overview"}
    assert {title for row in ROWS for title in row} <= titles


def test_the_picture_is_of_the_overview_as_it_is(tmp_path: Path) -> None:
    """With today's objectives or still with the default ones, since to change an objective is one edit."""
    objectives = tmp_path / "slo.yaml"
    objectives.write_text(slo_text())
    generate(load_slo(objectives), tmp_path / "dashboards")
    today = {fingerprint(overview, ROWS) for overview in (OVERVIEW, tmp_path / "dashboards/overview.json")}
    assert stamped(PICTURE) in today, (
        f"{PICTURE.name} shows other queries or thresholds: run `python -m monitoring.grafana.picture`"
    )


def test_a_picture_carries_the_fingerprint_of_what_it_shows(tmp_path: Path) -> None:
    drawn = tmp_path / "drawn.png"
    draw(OVERVIEW, ROWS, Answered("", 0, 60, 1, "6s"), "caption", drawn)

    assert stamped(drawn) == fingerprint(OVERVIEW, ROWS)


@pytest.mark.parametrize("place", ["query", "threshold", "description"])
def test_only_what_is_drawn_makes_a_picture_outdated(place: str, tmp_path: Path) -> None:
    content = json.loads(OVERVIEW.read_text())
    (latency,) = (panel for panel in content["panels"] if panel["title"] == "Latency")
    if place == "query":
        latency["targets"][0]["expr"] += " / 2"
    elif place == "threshold":
        latency["fieldConfig"]["defaults"]["thresholds"]["steps"][-1]["value"] = 7
    else:
        latency["description"] = "told anew"
    changed = tmp_path / "overview.json"
    changed.write_text(json.dumps(content))

    assert (fingerprint(changed, ROWS) != fingerprint(OVERVIEW, ROWS)) == (place != "description")


def test_the_picture_is_light_enough_for_a_page() -> None:
    assert PICTURE.stat().st_size < 200_000
