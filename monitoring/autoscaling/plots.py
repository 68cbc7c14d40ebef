"""The pictures of docs/autoscaling.md."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray
from PIL import Image

from monitoring.autoscaling.service import CAPACITY
from monitoring.autoscaling.simulation import Outcome
from monitoring.autoscaling.study import Run, Summary
from monitoring.grafana.drawing import COLORS, FAINT, GRID, INK, PALETTE, PANEL, PAPER

GREEN, YELLOW, BLUE = PALETTE[0], PALETTE[1], PALETTE[2]


def draw_runs(runs: Mapping[str, Run], out: Path) -> None:
    """A column for each run: what comes and what can be done, the pods' saturation, and the good answers."""
    figure = Figure(figsize=(14, 7.2), facecolor=PAPER)
    axes = figure.subplots(3, len(runs), sharex="col", sharey="row", squeeze=False)
    for column, (title, run) in enumerate(runs.items()):
        outcome = run.outcome()
        minutes = np.arange(run.trace.seconds) / 60
        _load(axes[0][column], minutes, run, outcome)
        _saturation(axes[1][column], minutes, run, outcome)
        _good(axes[2][column], run, outcome)
        axes[0][column].set_title(title, loc="left", color=INK, fontsize=10)
        axes[2][column].set_xlabel("minutes", color=FAINT, fontsize=9)
        axes[2][column].set_xlim(0, minutes[-1])
    for row, label in enumerate(("texts a second", "saturation", "good answers")):
        axes[row][0].set_ylabel(label, color=INK, fontsize=9)
    for place, row in zip(("upper right", "upper right", "lower right"), axes[:, -1], strict=True):
        row.legend(loc=place, ncols=3, fontsize=8, labelcolor=INK, facecolor=PANEL, edgecolor=GRID)
    _save(figure, out)


def draw_targets(targets: Mapping[str, Summary], chosen: str, out: Path) -> None:
    """What each target costs, and how long fewer answers than promised were good."""
    figure = Figure(figsize=(7, 4), facecolor=PAPER)
    axes = figure.subplots()
    _paint(axes)
    hours = [summary.pod_hours for summary in targets.values()]
    bad = [summary.bad_seconds for summary in targets.values()]
    axes.plot(hours, bad, color=BLUE, linewidth=1, marker="o", markersize=5)
    for (name, summary), place in zip(targets.items(), zip(hours, bad, strict=True), strict=True):
        if name == chosen:
            axes.plot([summary.pod_hours], [summary.bad_seconds], "o", color=GREEN, markersize=10)
        axes.annotate(name, place, (6, 6), textcoords="offset points", color=INK, fontsize=9)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("pod-hours a trace", color=FAINT, fontsize=9)
    axes.set_ylabel("seconds of a trace with too few good answers", color=FAINT, fontsize=9)
    _save(figure, out)


def _load(axes: Axes, minutes: NDArray[np.float64], run: Run, outcome: Outcome) -> None:
    _paint(axes)
    rate = [run.trace.rate(second) for second in range(run.trace.seconds)]
    axes.fill_between(minutes, rate, color=BLUE, alpha=0.35, linewidth=0, label="arriving")
    asked, ready = (CAPACITY * np.array(pods) for pods in (outcome.asked, outcome.ready))
    axes.plot(minutes, asked, color=YELLOW, linewidth=1, label="asked for")
    axes.plot(minutes, ready, color=GREEN, linewidth=1.5, label="ready")
    axes.set_ylim(0, 1.3 * CAPACITY * run.spec.max_replicas)  # with room for the legend


def _saturation(axes: Axes, minutes: NDArray[np.float64], run: Run, outcome: Outcome) -> None:
    _paint(axes)
    axes.plot(minutes, outcome.saturation, color=BLUE, linewidth=0.6, label="mean of the ready pods")
    axes.axhline(float(run.spec.target), color=YELLOW, linestyle=(0, (5, 4)), linewidth=1, label="target")
    axes.set_yscale("symlog", linthresh=0.1)
    axes.set_ylim(0, 20)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _good(axes: Axes, run: Run, outcome: Outcome) -> None:
    _paint(axes)
    slices = (outcome.times // 10).astype(int)
    total = np.bincount(slices, minlength=run.trace.seconds // 10)
    good = np.bincount(slices, weights=outcome.good, minlength=len(total)) / np.maximum(total, 1)
    axes.plot(np.arange(len(good)) / 6, good, color=GREEN, linewidth=1, label="of 10 s")
    axes.axhline(0.99, color=COLORS["red"], linestyle=(0, (5, 4)), linewidth=1, label="objective")
    axes.set_ylim(0, 1.05)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))


def _paint(axes: Axes) -> None:
    axes.set_facecolor(PANEL)
    axes.tick_params(colors=FAINT, labelsize=8, length=0)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_color(GRID)


def _save(figure: Figure, out: Path) -> None:
    figure.tight_layout()
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=100)
    # A hundred colours are all that there is in it, and a third of the bytes.
    Image.open(drawn).convert("RGB").quantize(100).save(out, optimize=True)
