"""What docs/autoscaling.md shows is what the simulation gives."""

import re

import pytest

from monitoring.autoscaling.__main__ import DOCS, write_tables
from monitoring.autoscaling.spec import read_spec
from monitoring.autoscaling.study import MIXES, chosen_row
from monitoring.autoscaling.traffic import MIXED, TRACES, Trace

PAGE = DOCS / "autoscaling.md"


def table(name: str) -> list[str]:
    """The rows below the headings."""
    (found,) = re.findall(rf"<!-- simulated: {name} -->\n((?:\|.*\n)+)", PAGE.read_text())
    rows: list[str] = found.splitlines()
    return rows[2:]


# Those that take least to simulate: a changed model, behaviour or target shows in them as in the others.
@pytest.mark.parametrize("trace", [TRACES[0], TRACES[4]], ids=lambda trace: trace.name)
def test_the_table_is_what_the_simulation_gives(trace: Trace) -> None:
    assert chosen_row(trace, MIXED) in table("chosen")


def test_every_trace_and_mix_is_in_the_table() -> None:
    shown = [tuple(row.strip("| ").split(" | ")[:2]) for row in table("chosen")]
    assert shown == [(trace.name, mix.name) for mix in MIXES for trace in TRACES]


def test_the_comparisons_agree_on_what_is_chosen() -> None:
    def figures(name: str, row: str) -> str:
        (found,) = (line for line in table(name) if line.startswith(f"| {row} |"))
        return found.removeprefix(f"| {row} |")

    target = f"{read_spec().target.normalize():f}"
    chosen = figures("targets", target)
    assert figures("behaviors", "chosen") == chosen
    assert figures("readings", "latest of ready pods (chosen)") == chosen
    assert f"`autoscaler_target` is {target}" in PAGE.read_text()


def test_a_table_without_a_place_is_an_error() -> None:
    with pytest.raises(ValueError, match="has no line '<!-- simulated: other"):
        write_tables(PAGE, {"other": []})
