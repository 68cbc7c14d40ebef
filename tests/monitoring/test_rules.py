"""The rules hold what they promise, by the real promtool."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.catalogue import unknown_names
from tests.monitoring.rules import ALERTS, RECORDED, RULE_FILES, RULES, TEST_FILES, Rule, run

NEVER_QUIET = {"Watchdog"}


def test_promtool_has_nothing_to_say() -> None:
    run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *RULE_FILES)


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_the_rules_tests_pass(path: Path) -> None:
    run("promtool", "test", "rules", path)


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_they_pass_with_the_left_open_ranges_of_prometheus_3(path: Path, tmp_path: Path) -> None:
    """A range that is a millisecond shorter leaves out the sample on its edge, as Prometheus 3 does."""
    for folder in ("rules", "tests"):
        shutil.copytree(path.parents[1] / folder, tmp_path / folder)
    for rules in (tmp_path / "rules").iterdir():
        rules.write_text(
            re.sub(r"\[(\w+)\]", lambda found: f"[{_milliseconds(found[1]) - 1}ms]", rules.read_text())
        )

    run("promtool", "test", "rules", tmp_path / "tests" / path.name)


def _milliseconds(duration: str) -> int:
    units = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)(ms|[smhd])", duration))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_each_name_in_a_rule_is_one_that_something_exposes(rule: Rule) -> None:
    assert list(unknown_names(rule.content["expr"], RECORDED)) == []


@pytest.mark.parametrize("alert", ALERTS, ids=str)
def test_each_alert_says_who_should_do_what(alert: Rule) -> None:
    annotations = alert.content["annotations"]
    assert alert.labels["severity"] in {"critical", "warning", "info", "none"}
    assert alert.labels["team"] in {"serving", "platform"}
    assert set(annotations) == {"summary", "description", "runbook_url"}
    assert len(annotations["summary"]) < 120
    assert annotations["runbook_url"].endswith(f"/{alert.content['alert']}.md")


def _cases(path: Path) -> list[dict[str, Any]]:
    tests: list[dict[str, Any]] = yaml.safe_load(path.read_text())["tests"]
    return [case for test in tests for case in test.get("alert_rule_test", [])]


CASES = [case for path in TEST_FILES for case in _cases(path)]


@pytest.mark.parametrize("alert", ALERTS, ids=str)
def test_each_alert_has_a_test_in_which_it_fires_and_one_in_which_it_nearly_does(alert: Rule) -> None:
    cases = [case for case in CASES if case["alertname"] == alert.content["alert"]]
    fires = [
        any(alert.labels.items() <= found["exp_labels"].items() for found in case["exp_alerts"])
        for case in cases
    ]

    assert any(fires)
    assert not all(fires) or alert.content["alert"] in NEVER_QUIET
    for case in cases:
        for expected in case["exp_alerts"]:
            assert set(expected["exp_annotations"]) == {"summary", "description", "runbook_url"}
            assert "<no value>" not in str(expected)
