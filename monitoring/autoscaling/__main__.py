"""Simulate the autoscaler: `python -m monitoring.autoscaling`, or `make simulate-autoscaling`.

Writes the tables and pictures of docs/autoscaling.md; the same again as long as nothing changes. Takes some
minutes.
"""

import argparse
import re
from pathlib import Path

from monitoring.autoscaling.plots import draw_runs, draw_targets
from monitoring.autoscaling.spec import read_spec
from monitoring.autoscaling.study import COLD_STARTS, Run, over_all, tables, targets
from monitoring.autoscaling.traffic import LONE, MIXED, ramp, spikes, step, wave

DOCS = Path(__file__).parents[2] / "docs"


def write_tables(page: Path, content: dict[str, list[str]]) -> None:
    """Put each table where the page has the comment `<!-- simulated: NAME -->`, up to the next empty line.

    Raises:
        ValueError: if the page has no such place.
    """
    text = page.read_text()
    for name, lines in content.items():
        marker = f"<!-- simulated: {name} -->\n"
        if marker not in text:
            raise ValueError(f"{page.name}: has no line {marker!r}")
        table = marker + "\n".join(lines) + "\n"
        text = re.sub(re.escape(marker) + r"(\|.*\n)*", table.replace("\\", r"\\"), text)
    page.write_text(text)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--docs", type=Path, default=DOCS, help="the folder (default: %(default)s)")
    docs: Path = parser.parse_args().docs
    spec = read_spec()
    write_tables(docs / "autoscaling.md", dict(tables(lambda what: print(what, flush=True))))
    draw_runs(
        {f"{step(10).name}, cold start {cold} s": Run(step(10), MIXED, spec, cold) for cold in COLD_STARTS},
        docs / "images/autoscaling-steps.png",
    )
    others = ((ramp(10, 10), MIXED), (spikes(5, 30), MIXED), (wave(10), LONE))
    draw_runs(
        {f"{trace.name}, {mix.name}": Run(trace, mix, spec) for trace, mix in others},
        docs / "images/autoscaling-traces.png",
    )
    draw_targets(
        {name: over_all(candidate) for name, candidate in targets(spec).items()},
        f"{spec.target.normalize():f}",
        docs / "images/autoscaling-targets.png",
    )


if __name__ == "__main__":
    main()
