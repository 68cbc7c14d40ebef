"""The mutation check itself: it makes the mistakes that it says, and tells good tests from bad ones."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.mutate import problems
from monitoring.mutations import Mutant, mutants, mutations
from monitoring.suite import Place, load_rules
from monitoring.trials import noticed
from tests.monitoring.rules import run

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


@pytest.mark.timeout(600)
def test_the_rules_tests_notice_the_mistakes() -> None:
    said = run(sys.executable, "-m", "monitoring.mutate", timeout=600)

    assert "mutants noticed" in said


DOWN = {"alert": "Down", "expr": 'up{job="x"} == 0', "for": "2m", "labels": {"severity": "warning"}}
OTHERS_DOWN = {"series": 'up{job="other"}', "values": "0 0 0 0 0 0 0 0 0 0"}


def _write(
    folder: Path, checks: list[tuple[str, bool]], *series: dict[str, str], rules: tuple[Any, ...] = (DOWN,)
) -> None:
    """The rules, and a test that says at which times Down fires."""
    fires = [{"exp_labels": {"job": "x", "severity": "warning"}}]
    test = {
        "interval": "1m",
        "input_series": [{"series": 'up{job="x"}', "values": "1 1 1 1 0 0 0 0 0 0"}, *series],
        "alert_rule_test": [
            {"eval_time": at, "alertname": "Down", "exp_alerts": fires if on else []} for at, on in checks
        ],
    }
    files = {
        "rules/a.yaml": {"groups": [{"name": "a", "rules": list(rules)}]},
        "tests/a_test.yaml": {
            "rule_files": ["../rules/a.yaml"],
            "evaluation_interval": "1m",
            "tests": [test],
        },
    }
    for name, content in files.items():
        (folder / name).parent.mkdir()
        (folder / name).write_text(yaml.safe_dump(content))


def _survivors(folder: Path) -> list[str]:
    tried = list(mutants(load_rules(folder)))
    found = noticed(tried, folder, jobs=1)
    return [mutant.change for mutant in tried if mutant not in found]


GOOD = [("3m", False), ("5m", False), ("8m", True)]


def test_good_tests_notice_everything(tmp_path: Path) -> None:
    _write(tmp_path, GOOD, OTHERS_DOWN)

    assert len(list(mutants(load_rules(tmp_path)))) == 3
    assert _survivors(tmp_path) == []


def test_a_missing_test_is_shown_by_the_mistake_that_it_would_notice(tmp_path: Path) -> None:
    _write(tmp_path, [("8m", True)])

    assert _survivors(tmp_path) == ["drop for: 2m", 'up{job="x"} → up']


def test_a_mistake_that_breaks_another_rule_is_noticed(tmp_path: Path) -> None:
    """No check reads either recording rule, but without its matcher the first breaks the second."""
    one = {"record": "a:up:one", "expr": 'up{job="x"}'}
    other = {"record": "a:up:other", "expr": "up * on () group_left () a:up:one"}
    _write(tmp_path, GOOD, OTHERS_DOWN, rules=(DOWN, one, other))

    assert _survivors(tmp_path) == []


def test_tests_that_always_fail_do_not_count_as_noticing(tmp_path: Path) -> None:
    _write(tmp_path, [("3m", True)])

    with pytest.raises(ValueError, match=r"a_test\.yaml: a test: fails without any mutant"):
        _survivors(tmp_path)


def _mutants(count: int) -> list[Mutant]:
    return [
        Mutant(Place("a.yaml", 0, 0), "Down warning", f"change {number}", DOWN) for number in range(count)
    ]


def test_a_survivor_needs_a_reason_and_a_reason_a_survivor() -> None:
    tried = _mutants(20)
    reasons = {("Down warning", "change 0"): "equal", ("Down warning", "change 1"): "was equal"}

    assert list(problems(tried, tried[:1], reasons)) == [
        "explained in survivors.yaml, yet noticed or gone: Down warning: change 1"
    ]
    assert list(problems(tried, [tried[2]], {})) == [
        "survived and not explained in survivors.yaml: Down warning: change 2"
    ]


def test_one_in_twenty_may_survive_and_no_more() -> None:
    tried = _mutants(40)
    reasons = {(mutant.name, mutant.change): "equal" for mutant in tried[:3]}

    assert "fewer than 95% of the mutants are noticed" in problems(tried, tried[:3], reasons)
    assert list(problems(tried, tried[:2], dict(list(reasons.items())[:2]))) == []
