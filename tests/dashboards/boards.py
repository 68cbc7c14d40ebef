"""The committed dashboards as data."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from monitoring.grafana.generate import DASHBOARDS
from monitoring.grafana.queries import filled_in

RATE_INTERVAL = "1m"
"""What Grafana makes of `$__rate_interval` at a scrape interval of 15 s."""


@dataclass(frozen=True)
class Panel:
    """A panel, with the dashboard that it stands on."""

    dashboard: str
    content: dict[str, Any]

    @property
    def title(self) -> str:
        title: str = self.content["title"]
        return title

    @property
    def targets(self) -> list[dict[str, Any]]:
        targets: list[dict[str, Any]] = self.content["targets"]
        return targets

    @property
    def steps(self) -> list[tuple[float | None, str]]:
        steps = self.content["fieldConfig"]["defaults"]["thresholds"]["steps"]
        return [(step["value"], step["color"]) for step in steps]

    def queries(self, rate_interval: str = RATE_INTERVAL) -> list[str]:
        return [filled_in(target["expr"], rate_interval) for target in self.targets]

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.title}"


@dataclass(frozen=True)
class Board:
    path: Path

    @cached_property
    def content(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.path.read_text())
        return content

    @property
    def variables(self) -> dict[str, dict[str, Any]]:
        return {variable["name"]: variable for variable in self.content["templating"]["list"]}

    @property
    def annotations(self) -> dict[str, dict[str, Any]]:
        return {mark["name"]: mark for mark in self.content["annotations"]["list"]}

    @property
    def panels(self) -> list[Panel]:
        return [Panel(str(self), panel) for panel in self.content["panels"] if panel["type"] != "row"]

    def __str__(self) -> str:
        return self.path.stem


BOARDS = [Board(path) for path in sorted(DASHBOARDS.glob("*.json"))]
PANELS = [panel for board in BOARDS for panel in board.panels]


def panel(dashboard: str, title: str) -> Panel:
    """The one of that name."""
    (found,) = (panel for panel in PANELS if (panel.dashboard, panel.title) == (dashboard, title))
    return found
