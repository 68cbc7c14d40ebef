"""An excerpt of a test keeps what the verdict on one rule depends on, and nothing else."""

from typing import Any

import pytest

from monitoring.excerpts import Excerpt, Scope
from monitoring.suite import Case, Place, Rule

RULES: dict[str, Rule] = {
    "rate": {"record": "a:c:rate5m", "expr": "rate(c_total[5m])"},
    "good": {"record": "a:c:ratio", "expr": "a:c:rate5m / d", "labels": {"slo": "good"}},
    "bad": {"record": "a:c:ratio", "expr": "e", "labels": {"slo": "bad"}},
    "page": {"alert": "Low", "expr": 'a:c:ratio{slo="good"} < 1', "labels": {"severity": "critical"}},
    "ticket": {"alert": "Low", "expr": "f < 1", "labels": {"severity": "{{ $labels.severity }}"}},
    "other": {
        "alert": "Other",
        "expr": "g > 0",
        "annotations": {"summary": "{{ range query `a:c:ratio` }}{{ . }}{{ end }}, see a:c:rate5m"},
    },
}
PLACES = {name: Place("a.yaml", 0, number) for number, name in enumerate(RULES)}


def _excerpt(*checks: dict[str, Any], rule: str | None = None, changed: Rule | None = None) -> Excerpt:
    kinds = {"promql_expr_test": "expr", "alert_rule_test": "alertname"}
    test: dict[str, Any] = {
        kind: [{"eval_time": "5m", **check} for check in checks if field in check]
        for kind, field in kinds.items()
    }
    test["input_series"] = [
        {"series": f'{name}{{slo="good"}}', "values": "1"} for name in ("c_total", "d", "e", "f", "g")
    ]
    case = Case("a_test.yaml", {"rule_files": ["../rules/a.yaml"], "evaluation_interval": "1m"}, test)
    rules = {PLACES[name]: rule for name, rule in RULES.items()} | {Place("b.yaml", 0, 0): RULES["rate"]}
    return Scope(case, rules).excerpt(PLACES[rule] if rule else None, changed)


def _kept(excerpt: Excerpt) -> set[str]:
    return {name for name, place in PLACES.items() if place in excerpt.rules}


@pytest.mark.parametrize(
    ("check", "rules"),
    [
        ({"expr": "a:c:rate5m"}, {"rate"}),
        ({"expr": "round(a:c:ratio, 0.1)"}, {"rate", "good", "bad"}),
        ({"expr": 'a:c:ratio{slo="bad"}'}, {"bad"}),
        ({"expr": 'a:c:ratio{slo!~"b.*"}'}, {"rate", "good"}),
        ({"expr": '{__name__=~".*ratio",slo="bad"}'}, {"bad"}),
        ({"alertname": "Low"}, {"rate", "good", "page", "ticket"}),
        # The ticket's severity is known only once it fires
        ({"expr": 'ALERTS{alertname="Low",severity="warning"}'}, {"ticket"}),
        ({"expr": 'ALERTS_FOR_STATE{alertname=~"O.*"}'}, {"rate", "good", "bad", "other"}),
        ({"expr": "c_total"}, set()),
    ],
    ids=str,
)
def test_the_rules_that_a_check_reads_are_kept(check: dict[str, Any], rules: set[str]) -> None:
    excerpt = _excerpt(check)

    assert _kept(excerpt) == rules
    assert all(place.file == "a.yaml" for place in excerpt.rules)


def test_only_the_checks_that_depend_on_the_rule_are_kept_and_the_series_that_they_read() -> None:
    excerpt = _excerpt({"expr": "a:c:rate5m"}, {"expr": "a:c:ratio"}, {"alertname": "Low"}, rule="bad")

    (check,) = excerpt.case.test["promql_expr_test"]
    assert check["expr"] == "a:c:ratio"
    assert excerpt.case.test["alert_rule_test"] == []
    assert [series["series"][0] for series in excerpt.case.test["input_series"]] == ["c", "d", "e"]


def test_what_only_the_changed_rule_reads_is_kept_too() -> None:
    changed = {**RULES["page"], "expr": "a:c:ratio < 1"}

    excerpt = _excerpt({"alertname": "Low"}, rule="page", changed=changed)

    assert _kept(excerpt) == {"rate", "good", "bad", "page", "ticket"}
    assert excerpt.rules[PLACES["page"]] == changed
