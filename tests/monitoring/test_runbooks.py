"""Each alert has its runbook, in one form, with queries that work."""

import re
from pathlib import Path

import pytest

from app.settings import variables
from monitoring.catalogue import unknown_names
from tests.monitoring.rules import ALERTS, RECORDED, RULE_FILES

FOLDER = Path(__file__).parents[2] / "docs/runbooks"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
INCIDENTS = sorted(FOLDER.glob("incidents/*.md"))
FORM = ["Meaning", "Impact", "Diagnosis", "Remedy", "Over when"]
OF_THE_MONITORING_ITSELF = {rule.content["alert"] for rule in ALERTS if rule.file.name == "meta.yaml"}


def test_each_alert_has_its_page_and_each_page_its_alert() -> None:
    assert [path.stem for path in PAGES] == sorted({rule.content["alert"] for rule in ALERTS})


def test_the_classic_incidents_are_there() -> None:
    assert {path.stem for path in INCIDENTS} == {
        "crash-loop-back-off",
        "html-instead-of-file",
        "service-unreachable",
    }


@pytest.mark.parametrize("path", [*PAGES, *INCIDENTS], ids=lambda path: path.stem)
def test_each_page_has_the_one_form(path: Path) -> None:
    text = path.read_text()
    sections = dict(re.findall(r"^## (.+?)\n(.+?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))

    assert text.startswith(f"# {path.stem}\n" if path in PAGES else "# ")
    assert list(sections) == FORM
    assert all(section.strip() for section in sections.values())
    assert "kubectl" in sections["Diagnosis"]
    assert "ashboard" in sections["Diagnosis"]
    assert "```promql" in sections["Diagnosis"]
    assert "onsole" in sections["Diagnosis"] or path.stem in OF_THE_MONITORING_ITSELF
    assert sections["Remedy"].startswith("\n1. ")


@pytest.mark.parametrize("path", [*PAGES, *INCIDENTS], ids=lambda path: path.stem)
def test_its_queries_parse_and_name_what_exists(path: Path) -> None:
    queries = re.findall(r"```promql\n(.+?)```", path.read_text(), re.DOTALL)

    assert queries
    for query in queries:
        assert list(unknown_names(query, RECORDED)) == [], query


def test_the_index_lists_every_page() -> None:
    index = (FOLDER / "README.md").read_text()
    listed = set(re.findall(r"\]\(([\w/-]+\.md)\)", index))

    assert listed == {str(path.relative_to(FOLDER)) for path in [*PAGES, *INCIDENTS]}


def test_every_setting_that_is_named_exists() -> None:
    texts = [path.read_text() for path in (*PAGES, *INCIDENTS, *RULE_FILES)]
    named = {name for text in texts for name in re.findall(r"\bAPP_[A-Z]\w*[A-Z]\b", text)}

    # A group of settings
    assert named - {name for name, _ in variables()} <= {"APP_ADMISSION"}
    assert "APP_MAX_BATCH_TOKENS" in named
