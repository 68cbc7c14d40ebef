"""docs/doctor.md says what the code does."""

import argparse
import re
from pathlib import Path

from app.doctor.layers import LAYERS
from app.doctor.options import USUAL, add_options
from app.doctor.report import WORDS, LayerReport, Report
from app.doctor.walk import State
from tests.live.stacks import ROOT

TEXT = (ROOT / "docs/doctor.md").read_text()


def table(header: str) -> list[tuple[str, ...]]:
    """The cells of the rows below a header."""
    rows = TEXT.partition(header)[2].split("\n\n")[0].strip().splitlines()[1:]
    return [tuple(cell.strip(" `") for cell in row.strip("|").split("|")) for row in rows]


def test_it_lists_the_layers_in_their_order() -> None:
    expected = [
        (layer.name, layer.question, ", ".join([*([layer.needs] if layer.needs else []), *layer.after]))
        for layer in LAYERS
    ]
    assert table("| Layer | Question | Stands on |\n") == expected


def test_each_layer_stands_on_earlier_ones() -> None:
    for index, layer in enumerate(LAYERS):
        earlier = {before.name for before in LAYERS[:index]}
        assert {*layer.after, layer.needs or LAYERS[0].name} <= earlier | {LAYERS[0].name}


def test_it_lists_fields_and_states_of_the_report() -> None:
    fields = [*Report.model_fields, *(f"layers[].{name}" for name in LayerReport.model_fields)]
    assert [row[0] for row in table("| Field | Type | Meaning |\n")] == fields
    states = [row[:2] for row in table("| State | For people | Meaning |\n")]
    assert states == [(state.value, WORDS[state]) for state in State]


def test_its_example_is_a_report() -> None:
    example = re.search(r"```json\n(.+?)```", TEXT, re.DOTALL)
    assert example
    report = Report.model_validate_json(example[1])
    assert report.first_broken == report.layers[0].name


def test_every_option_that_is_named_exists() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    pages = [TEXT, (ROOT / "README.md").read_text()]
    pages += [page.read_text() for page in (ROOT / "docs/runbooks/incidents").glob("*.md")]
    for page in pages:
        for line in re.findall(r"app doctor[^`\n]*", page):
            assert set(re.findall(r"--[a-z-]+", line)) <= set(parser.format_help().split()), line
    assert all(f"--{name}-url" in TEXT and url.rpartition(":")[2] in TEXT for name, url in USUAL.items())


def test_every_runbook_that_a_remedy_names_exists() -> None:
    runbooks = ROOT / "docs/runbooks"
    source = "".join(path.read_text() for path in sorted((Path(ROOT) / "app/doctor").glob("*.py")))
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # strings that go on in the next line
    named = re.findall(r"[Rr]unbooks? ([\w/.-]*\w(?:, [A-Z]\w+)*)", source)
    assert len(named) >= 10
    for name in (name for names in named for name in names.split(", ")):
        assert (runbooks / (name if name.endswith(".md") else f"{name}.md")).exists(), name
