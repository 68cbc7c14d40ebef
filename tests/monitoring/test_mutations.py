"""The mutation check itself: it makes the mistakes that it says, and tells good tests from bad ones."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.mutate import Mutant, is_noticed, mutants
from monitoring.mutations import mutations

RULE: dict[str, Any] = {
    "alert": "Slow",
    "expr": 'a:wait:rate1h{job="x",kind!="y"} > 2 * b and rate(c_total[5m]) == 0',
    "for": "5m",
    "labels": {"severity": "warning"},
}


def _changes(**rule: Any) -> set[str]:
    recorded = frozenset({"a:wait:rate5m", "a:wait:rate30m", "a:wait:rate1h", "a:wait:rate1d", "z:rate6h"})
    return {change.replace("{}", "") for change, _ in mutations({**RULE, **rule}, recorded)}


def test_every_kind_of_mistake_is_made() -> None:
    wait = 'a:wait:rate1h{job="x",kind!="y"}'
    assert _changes() == {
        "drop for: 5m",
        f"{wait} > 2 * b → {wait} < 2 * b",
        f"{wait} > 2 * b → {wait} > (2 * b) * 0.8",
        f"{wait} > 2 * b → {wait} > (2 * b) * 1.2",
        f'{wait} → a:wait:rate1h{{kind!="y"}}',
        f'{wait} → a:wait:rate1h{{job="x"}}',
        f'{wait} → a:wait:rate30m{{job="x",kind!="y"}}',
        f'{wait} → a:wait:rate1d{{job="x",kind!="y"}}',
        "rate(c_total[5m]) == 0 → rate(c_total[5m]) != 0",
        "c_total[5m] → c_total[15m]",
        "c_total[5m] → c_total[1m40s]",
    }


def test_the_way_that_vectors_are_matched_is_kept() -> None:
    changed = [
        rule["expr"]
        for _, rule in mutations({"alert": "A", "expr": "a > on (x) group_left () b"}, frozenset())
    ]

    assert "a{} < on (x) group_left () b{}" in changed
    assert "a{} > on (x) group_left () (b{}) * 1.2" in changed


def test_the_rest_of_the_rule_stays_as_it_is() -> None:
    for change, rule in mutations(RULE, frozenset()):
        assert rule["labels"] == RULE["labels"]
        assert (rule["expr"] == RULE["expr"]) == change.startswith("drop")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules").mkdir()
    (tmp_path / "tests").mkdir()
    rule = {"alert": "Down", "expr": 'up{job="x"} == 0', "for": "2m", "labels": {"severity": "warning"}}
    (tmp_path / "rules/a.yaml").write_text(yaml.safe_dump({"groups": [{"name": "a", "rules": [rule]}]}))
    return tmp_path


def _test(folder: Path, *checks: tuple[str, bool], others: str = "") -> None:
    series = [{"series": 'up{job="x"}', "values": "1 1 1 1 0 0 0 0 0 0"}]
    if others:
        series.append({"series": 'up{job="other"}', "values": others})
    fires = [{"exp_labels": {"job": "x", "severity": "warning"}}]
    cases = [{"eval_time": at, "alertname": "Down", "exp_alerts": fires if on else []} for at, on in checks]
    test = {"interval": "1m", "input_series": series, "alert_rule_test": cases}
    content = {"rule_files": ["../rules/a.yaml"], "evaluation_interval": "1m", "tests": [test]}
    (folder / "tests/a_test.yaml").write_text(yaml.safe_dump(content))


def _survivors(folder: Path) -> list[str]:
    return [mutant.change for mutant in _all(folder) if not is_noticed(mutant)]


def _all(folder: Path) -> list[Mutant]:
    return list(mutants(folder))


def test_good_tests_notice_everything(folder: Path) -> None:
    _test(folder, ("3m", False), ("5m", False), ("8m", True), others="0 0 0 0 0 0 0 0 0 0")

    assert len(_all(folder)) == 3
    assert _survivors(folder) == []


def test_a_missing_test_is_shown_by_the_mistake_that_it_would_notice(folder: Path) -> None:
    _test(folder, ("8m", True))

    assert _survivors(folder) == ["drop for: 2m", 'up{job="x"} → up']
