"""The comparisons drawn, in the manner of the project's other pictures."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from monitoring.grafana.drawing import FAINT, GRID, INK, PALETTE, PANEL, PAPER
from tests.bench.figures import OURS, over_rounds, p99, rate, taking_part
from tests.bench.results import Results

_MARKS = "osD^v<>ph*XP"


def draw_closed(results: Results, out: Path) -> None:
    """Rate and p99 against the number of clients; medians."""
    figure, (left, right) = _frame("Requests per second", "p99 in ms")
    clients = results.settings["clients"]
    for place, name in enumerate(taking_part(results)):
        for axes, what, scale in ((left, rate, 1.0), (right, p99, 1e3)):
            found = [(n, over_rounds(results, name, n, what)) for n in clients]
            points = [(n, spread.median * scale) for n, spread in found if spread]
            _line(axes, results, name, place, points)
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(clients, [str(n) for n in clients])
        axes.set_xlabel("clients in a closed loop", color=FAINT, fontsize=8)
    _logarithmic(right)
    if results.ceilings:
        ceiling = sorted(one.rate for one in results.ceilings)[len(results.ceilings) // 2]
        left.axhline(ceiling, color=INK, linestyle=(0, (5, 4)), linewidth=1)
        left.text(clients[0], ceiling, "offline ceiling", color=INK, fontsize=8, va="bottom")
    left.set_ylim(bottom=0)
    _save(figure, left, out)


def draw_open(results: Results, out: Path) -> None:
    """p99 and answers in time against the rate of a Poisson process; all rounds."""
    figure, (left, right) = _frame("Answers within the objective per second", "p99 in ms")
    for place, name in enumerate(taking_part(results)):
        runs = sorted((run for run in results.runs if run.contender == name), key=lambda run: run.load)
        _line(left, results, name, place, [(run.load, run.measured.goodput) for run in runs])
        _line(right, results, name, place, [(run.load, run.measured.latency.p99 * 1e3) for run in runs])
    for axes in (left, right):
        axes.set_xlabel("requests per second that come", color=FAINT, fontsize=8)
        axes.set_xlim(left=0)
    left.set_ylim(bottom=0)
    _logarithmic(right)
    right.axhline(results.settings["objective"] * 1e3, color=INK, linestyle=(0, (5, 4)), linewidth=1)
    _save(figure, left, out)


def _frame(*titles: str) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(12, 5.2), facecolor=PAPER)
    panels = [figure.add_subplot(1, len(titles), place + 1) for place in range(len(titles))]
    for axes, title in zip(panels, titles, strict=True):
        axes.set_facecolor(PANEL)
        axes.set_title(title, loc="left", color=INK, fontsize=10)
        axes.tick_params(colors=FAINT, labelsize=8, length=0, which="both")
        axes.grid(color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        for spine in axes.spines.values():
            spine.set_color(GRID)
    return figure, panels


def _logarithmic(axes: Axes) -> None:
    axes.set_yscale("log")
    for which in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        which(FuncFormatter(lambda value, _: f"{value:g}"))


def _line(axes: Axes, results: Results, name: str, place: int, points: Sequence[tuple[float, float]]) -> None:
    ours = name == OURS
    axes.plot(
        *([point[axis] for point in points] for axis in (0, 1)),
        color=PALETTE[place % len(PALETTE)],
        marker=_MARKS[place % len(_MARKS)],
        markersize=6 if ours else 4,
        linewidth=2 if ours else 1,
        zorder=3 if ours else 2,
        label=results.entries[name].title,
    )


def _save(figure: Figure, labelled: Axes, out: Path) -> None:
    handles, labels = labelled.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=4, frameon=False, fontsize=8, labelcolor=INK)
    rows = -(-len(labels) // 4)
    figure.subplots_adjust(left=0.05, right=0.985, top=0.93, bottom=0.13 + 0.04 * rows, wspace=0.13)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=100)
