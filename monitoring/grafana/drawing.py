"""A dashboard drawn from Prometheus' answers to its own queries, in Grafana's manner."""

import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from PIL import Image

from monitoring.grafana.fingerprint import fingerprint, stamp
from monitoring.grafana.queries import filled_in

Line = tuple[str, list[float], list[float]]
"""A series: its name, its times in seconds since the start, its values."""

PAPER, PANEL, GRID, INK, FAINT = "#111217", "#181b1f", "#2c3235", "#d8d9da", "#8e8e8e"
COLORS = {"green": "#37872d", "yellow": "#e0b400", "orange": "#ff780a", "red": "#c4162a"}
PALETTE = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#b877d9", "#5794f2", "#fade2a")


@dataclass(frozen=True, slots=True)
class Window:
    """What to ask for: from when to when in Unix time, and how finely, in seconds."""

    url: str
    start: float
    end: float
    step: float
    rate_interval: str

    def lines(self, panel: Mapping[str, Any]) -> list[Line]:
        """The series of a panel that have a value."""
        found = [line for target in panel["targets"] for line in self._lines(target)]
        return [(name, times, values) for name, times, values in found if any(v == v for v in values)]

    def latest(self, panel: Mapping[str, Any]) -> list[dict[str, str]]:
        """The labels of the series of a panel that are there at the end."""
        (target,) = panel["targets"]
        asked = {"query": filled_in(target["expr"], self.rate_interval), "time": self.end}
        return [series["metric"] for series in self._ask("query", asked)]

    def _lines(self, target: Mapping[str, Any]) -> list[Line]:
        query = filled_in(target["expr"], self.rate_interval)
        asked = {"query": query, "start": self.start, "end": self.end, "step": self.step}
        lines = []
        for series in self._ask("query_range", asked):
            name = _name(target["legendFormat"], series["metric"])
            times, values = zip(*series["values"], strict=True)
            lines.append((name, [when - self.start for when in times], [float(value) for value in values]))
        return lines

    def _ask(self, what: str, asked: Mapping[str, object]) -> Any:
        with urlopen(f"{self.url}/api/v1/{what}?{urlencode(asked)}", timeout=20) as reply:
            return json.load(reply)["data"]["result"]


def draw(dashboard: Path, rows: Sequence[Sequence[str]], window: Window, caption: str, out: Path) -> None:
    """Write a picture of the panels with these titles; the first row is numbers."""
    content = json.loads(dashboard.read_text())
    panels = {panel["title"]: panel for panel in content["panels"] if panel["type"] != "row"}
    figure = Figure(figsize=(14, 1.6 + 2.6 * (len(rows) - 1)), facecolor=PAPER)
    figure.text(0.012, 0.985, content["title"], color=INK, fontsize=15, weight="bold", va="top")
    figure.text(0.012, 0.012, caption, color=FAINT, fontsize=9)
    numbers, *graphs = rows
    top = figure.add_gridspec(1, len(numbers), left=0.012, right=0.988, top=0.91, bottom=0.81, wspace=0.06)
    for column, title in enumerate(numbers):
        _number(figure.add_subplot(top[column]), panels[title], window)
    below = figure.add_gridspec(len(graphs), 1, left=0.052, right=0.985, top=0.76, bottom=0.125, hspace=0.55)
    for place, row in enumerate(graphs):
        cells = below[place].subgridspec(1, len(row), wspace=0.24 if len(row) > 2 else 0.1)
        for column, title in enumerate(row):
            kind = _listing if panels[title]["type"] == "table" else _graph
            kind(figure.add_subplot(cells[column]), panels[title], window)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=100)
    # A hundred colours are all that there is in it, and a third of the bytes.
    picture = Image.open(drawn).convert("RGB").quantize(100)
    picture.save(out, "PNG", optimize=True, pnginfo=stamp(fingerprint(dashboard, rows)))


def _number(axes: Axes, panel: Mapping[str, Any], window: Window) -> None:
    lines, say = window.lines(panel), _unit(panel)
    axes.set_facecolor(_color(_steps(panel), [values[-1] for _, _, values in lines]))
    _frame(axes, panel["title"])
    axes.set_xticks([])
    axes.set_yticks([])
    for place, (name, _, values) in enumerate(lines):
        x = (2 * place + 1) / (2 * len(lines))
        value = axes.text(x, 0.56, say(values[-1]), color="white", fontsize=20, ha="center", va="center")
        value.set_fontweight("bold")
        axes.text(x, 0.15, name, color="white", fontsize=9, ha="center", va="center")


def _listing(axes: Axes, panel: Mapping[str, Any], window: Window) -> None:
    axes.set_facecolor(PANEL)
    axes.set_xticks([])
    axes.set_yticks([])
    _frame(axes, panel["title"])
    organize = panel["transformations"][-1]["options"]
    columns: dict[str, str] = organize["renameByName"]
    rows = [columns, *window.latest(panel)]
    columns = {label: heading for label, heading in columns.items() if any(label in row for row in rows[1:])}
    for height, row in enumerate(rows):
        for place, label in enumerate(columns):
            x = 0.015 + (0.42 + 0.58 * (place - 1) / (len(columns) - 1) if place else 0)
            ink = FAINT if height == 0 else PALETTE[6] if place == 0 else INK
            axes.text(x, 0.94 - 0.15 * height, row.get(label, ""), color=ink, fontsize=9, va="top")


def _graph(axes: Axes, panel: Mapping[str, Any], window: Window) -> None:
    axes.set_facecolor(PANEL)
    _frame(axes, panel["title"])
    look, lines, say = panel["fieldConfig"]["defaults"]["custom"], window.lines(panel), _unit(panel)
    if look.get("stacking", {}).get("mode") == "normal":
        _stack(axes, lines)
    else:
        for color, (name, times, values) in zip(PALETTE, lines, strict=False):
            axes.plot(times, values, color=color, linewidth=1.3, label=name)
    highest = max(value for _, _, values in lines for value in values)
    for limit, color in _steps(panel)[1:]:
        if limit < 1.6 * highest:
            axes.axhline(limit, color=COLORS[color], linestyle=(0, (5, 4)), linewidth=1)
    if look.get("scaleDistribution", {}).get("type") == "symlog":
        axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, window.end - window.start)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g} s"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: say(value)))
    axes.tick_params(colors=FAINT, labelsize=8, length=0)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(-0.01, -0.13),
        ncols=2 if len(lines) == 4 else 3,
        frameon=False,
        fontsize=8,
        labelcolor=INK,
        handlelength=0.9,
        handletextpad=0.4,
        columnspacing=1,
        borderaxespad=0,
    )


def _stack(axes: Axes, lines: Sequence[Line]) -> None:
    every = sorted({when for _, times, _ in lines for when in times})
    shown = [line for line in lines if max(line[2]) > 0]
    heights = []
    for _, times, values in shown:
        known = dict(zip(times, values, strict=True))
        heights.append([known.get(when, 0.0) for when in every])
    if shown:  # matplotlib cannot stack nothing
        axes.stackplot(every, heights, labels=[name for name, _, _ in shown], colors=PALETTE, alpha=0.75)


def _frame(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", color=INK, fontsize=10, pad=5)
    for spine in axes.spines.values():
        spine.set_color(GRID)


def _name(legend: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda label: labels.get(label[1], ""), legend)


def _steps(panel: Mapping[str, Any]) -> list[tuple[float, str]]:
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    return [(float("-inf") if step["value"] is None else step["value"], step["color"]) for step in steps]


def _color(steps: Sequence[tuple[float, str]], values: Sequence[float]) -> str:
    """Of the worst value; Grafana would colour each on its own."""
    reached = [max(place for place, (least, _) in enumerate(steps) if value >= least) for value in values]
    worst = (max if steps[0][1] == "green" else min)(reached, default=0)
    return COLORS[steps[worst][1]]


def _unit(panel: Mapping[str, Any]) -> Callable[[float], str]:
    unit = panel["fieldConfig"]["defaults"]["unit"]
    return {
        "percentunit": lambda value: f"{100 * value:.4g} %",
        "s": lambda value: f"{1000 * value:.4g} ms" if abs(value) < 1 else f"{value:.3g} s",
        "reqps": lambda value: f"{value:.3g} req/s",
        "short": lambda value: f"{value:g}",
    }[unit]
