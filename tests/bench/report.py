"""`python -m tests.bench report`: the latest results as tables and pictures in docs/performance.md."""

import re
from collections.abc import Sequence
from pathlib import Path

from tests.bench.figures import (
    OURS,
    Spread,
    against_best,
    knees,
    of_ceiling,
    of_lone_forward,
    over_rounds,
    p50,
    p99,
    peers,
    rate,
    taking_part,
)
from tests.bench.plots import draw_closed, draw_open
from tests.bench.results import Results

PAGE = Path("docs/performance.md")
IMAGES = Path("docs/images")
PARTS = [(kind, dtype) for dtype in ("float32", "bfloat16") for kind in ("closed", "open")]


def write_report() -> None:
    """Write what there are results of between the page's markers; leave the other parts as they are."""
    page = PAGE.read_text()
    for kind, dtype in PARTS:
        try:
            results = Results.read(kind, dtype)
        except FileNotFoundError:
            continue
        picture = IMAGES / f"performance-{kind}-{dtype}.png"
        (draw_closed if kind == "closed" else draw_open)(results, picture)
        tables = closed_section(results) if kind == "closed" else open_section(results)
        section = f"{tables}\n\n![{kind} loop, {dtype}](images/{picture.name})\n\n{conditions(results)}"
        page = put(page, f"{kind}-{dtype}", section)
    PAGE.write_text(page)


def put(page: str, name: str, section: str) -> str:
    """The page with this section between its markers. Raises ValueError if it has none of that name."""
    marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    if not marked.search(page):
        raise ValueError(f"{PAGE} has no markers for {name}")
    return marked.sub(lambda found: f"{found[1]}{section}\n{found[2]}", page)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown; the first column is words, the others are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def closed_section(results: Results) -> str:
    """Rates and tails by concurrency, what they cost, and Vitrine against the ceiling and the best."""
    clients = results.settings["clients"]
    most = 32 if 32 in clients else max(clients)

    def order(name: str) -> float:
        found = over_rounds(results, name, most, rate)
        return -found.median if found else 0.0

    names = sorted(taking_part(results), key=order)
    rates = table(
        ["requests/s (p99 in ms)", *(f"{n} clients" for n in clients), "spread"],
        [[_title(results, name), *_rate_cells(results, name, clients)] for name in names],
    )
    costs = table(
        ["", "p50, 1 client", "CPU a request", "peak memory", "start", "version"],
        [_cost_row(results, name, most) for name in names],
    )
    lines = [rates, f"CPU at {most} clients:", costs]
    if OURS in names:
        lines.append("\n".join(_verdicts(results, clients, most)))
    return "\n\n".join(lines)


def open_section(results: Results) -> str:
    """The highest rate within the objective, and what is left of it at twice that rate."""
    rows = []
    for name in taking_part(results):
        found = knees(results, name)
        if not found:
            rows.append((0.0, [_title(results, name), "none", "", "", "", ""]))
            continue
        knee = Spread.of([one.rate for one in found])
        goodput = Spread.of([one.goodput for one in found])
        twice = Spread.of([one.goodput_at_twice for one in found])
        cells = [
            _title(results, name),
            f"{knee.median:.0f} ({knee.low:.0f} to {knee.high:.0f})",
            f"{goodput.median:.0f}",
            f"{Spread.of([one.p50 for one in found]).median * 1e3:.0f}",
            f"{Spread.of([one.p99 for one in found]).median * 1e3:.0f}",
            f"{twice.median:.0f} ({twice.median / goodput.median:.2f})",
        ]
        rows.append((-knee.median, cells))
    head = [
        "",
        "rate held, requests/s",
        "in time/s there",
        "p50, ms",
        "p99, ms",
        "in time/s at twice that rate",
    ]
    return table(head, [cells for _, cells in sorted(rows)])


def conditions(results: Results) -> str:
    """The machine, the texts, how each was started, who was left out, and the command that does it again."""
    settings, tokens = results.settings, results.settings["tokens"]
    lines = [
        f"- Again: `{results.command}`; medians of {settings['rounds']} rounds of {settings['seconds']:g} s, "
        f"{results.dtype}.",
        f"- Texts: {settings['texts']}, {tokens['mean']:.0f} tokens in the mean, {tokens['p50']:.0f} in the "
        f"median, {tokens['longest']} the longest.",
        *(f"- {name.capitalize()}: {value}." for name, value in results.machine.items()),
        "- Started as:",
        *(
            f"  - {entry.title} {entry.version}: `{entry.command}`; {entry.answers_checked} answers checked, "
            f"the least cosine {entry.least_cosine:.5f}"
            for name, entry in results.entries.items()
            if not entry.skipped
        ),
        *(
            f"- Left out: {entry.title}: {entry.skipped}."
            for entry in results.entries.values()
            if entry.skipped
        ),
    ]
    details = "\n".join(lines)
    return f"<details><summary>The machine, the flags, the command</summary>\n\n{details}\n\n</details>"


def _title(results: Results, name: str) -> str:
    title = results.entries[name].title
    return f"**{title}**" if name == OURS else title


def _rate_cells(results: Results, name: str, clients: Sequence[int]) -> list[str]:
    cells, spreads = [], []
    for n in clients:
        rates, tails = (over_rounds(results, name, n, what) for what in (rate, p99))
        if rates is None or tails is None:
            cells.append("")
            continue
        cells.append(f"{rates.median:.0f} ({tails.median * 1e3:.0f})")
        spreads.append((rates.high - rates.low) / rates.median if rates.median else 0.0)
    return [*cells, f"{max(spreads, default=0):.0%}"]


def _cost_row(results: Results, name: str, most: int) -> list[str]:
    entry = results.entries[name]
    lone = over_rounds(results, name, 1, p50)
    cpu = over_rounds(results, name, most, lambda run: run.cpu_per_request)
    peak = max((run.peak_bytes for run in results.runs if run.contender == name), default=0)
    return [
        _title(results, name),
        f"{lone.median * 1e3:.1f} ms" if lone else "",
        f"{cpu.median * 1e3:.1f} ms" if cpu else "",
        f"{peak / 2**20:.0f} MiB",
        f"{Spread.of(entry.start_seconds).median:.1f} s",
        entry.version,
    ]


def _verdicts(results: Results, clients: Sequence[int], most: int) -> list[str]:
    ceiling = Spread.of([one.rate for one in results.ceilings])
    share = of_ceiling(results, most)
    lines = [
        f"- Offline ceiling: {ceiling.median:.0f} texts/s ({ceiling.low:.0f} to {ceiling.high:.0f}), "
        f"{Spread.of([one.tokens_per_second for one in results.ceilings]).median:.0f} tokens/s. Vitrine at "
        f"{most} clients: {share.median:.2f} of it ({share.low:.2f} to {share.high:.2f})."
    ]
    if 1 in clients:
        lone = of_lone_forward(results)
        bare = Spread.of([one.lone_p50 for one in results.ceilings])
        lines.append(
            f"- Bare forward of one text: {bare.median * 1e3:.1f} ms. Vitrine's p50 with one client: "
            f"{lone.median:.2f} of it ({lone.low:.2f} to {lone.high:.2f})."
        )
    if peers(results):
        found = ((n, *against_best(results, n)) for n in clients)
        told = ", ".join(
            f"{ratio:.2f} times {results.entries[best].title} at {n}" for n, best, ratio in found
        )
        lines.append(f"- Against the fastest peer: {told}.")
    return lines
