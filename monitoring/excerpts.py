"""Tests of the rules, cut down to what one rule's part in them depends on.

promtool evaluates every rule of every file that a test loads, at each of the test's steps. An excerpt gives
the same verdict sooner: it keeps the checks that look at the rule, or at what is computed from it, and of the
rules and input series only those that these checks read, directly or through other rules.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import promql_parser
from promql_parser import Expr, Matcher, MatchOp, VectorSelector

from monitoring.suite import Case, Place, Rule, Rules

Selector = tuple[Matcher, ...]
"""What a vector selector asks of a series' labels, of `__name__` first if it has a name."""

CHECKS = ("promql_expr_test", "alert_rule_test")
TEMPLATE = re.compile(r"\{\{.*?\}\}")


@dataclass(frozen=True)
class Excerpt:
    """A test that is left, and the rules that are."""

    case: Case
    rules: Rules

    def evaluations(self) -> float:
        """How many evaluations of rules it takes, which is most of promtool's time."""
        step = _seconds(self.case.settings["evaluation_interval"])
        ends = (_seconds(check["eval_time"]) for kind in CHECKS for check in self.case.test.get(kind, ()))
        return len(self.rules) * max(ends) / step


class Scope:
    """A test, and for each of its checks the rules that the check reads, directly or through others."""

    def __init__(self, case: Case, rules: Rules) -> None:
        self.case = case
        self.rules = {place: rule for place, rule in rules.items() if place.file in case.rule_files}
        self.checks = [
            (kind, check, reached(_looked_at(check), self.rules))
            for kind in CHECKS
            for check in case.test.get(kind, ())
        ]

    def depends_on(self, place: Place) -> bool:
        """Whether the rule in this place has a part in any check."""
        return any(place in reach for _, _, reach in self.checks)

    def excerpt(self, place: Place | None = None, changed: Rule | None = None) -> Excerpt:
        """The test cut down for the rule in this place, which is changed; by default with all its checks."""
        checks = [found for found in self.checks if place is None or place in found[2]]
        rules, places = self.rules, frozenset[Place]().union(*(reach for _, _, reach in checks))
        if place and changed:
            rules = rules | {place: changed}
            places = reached(read_by(changed), rules, places)
        kept = {place: rule for place, rule in rules.items() if place in places}
        selectors = [selector for _, check, _ in checks for selector in _looked_at(check)]
        selectors += [selector for rule in kept.values() for selector in read_by(rule)]
        test = dict(self.case.test)
        for kind in CHECKS:
            test[kind] = [check for its_kind, check, _ in checks if its_kind == kind]
        test["input_series"] = [
            series
            for series in test.get("input_series", ())
            if any(_selects(selector, _series(series["series"])) for selector in selectors)
        ]
        return Excerpt(Case(self.case.file, self.case.settings, test), kept)


def reached(
    selectors: Iterable[Selector], rules: Rules, known: frozenset[Place] = frozenset()
) -> frozenset[Place]:
    """The rules that the selectors may select, those that these read, and so on, added to `known`."""
    found, left = set(known), list(selectors)
    while left:
        selector = left.pop()
        for place, rule in rules.items():
            if place not in found and any(_may_select(selector, labels) for labels in _made_by(rule)):
                found.add(place)
                left += read_by(rule)
    return frozenset(found)


def read_by(rule: Rule) -> list[Selector]:
    """What the rule reads: in its expression, or with `query` in the templates of its texts."""
    texts = [*rule.get("annotations", {}).values(), *rule.get("labels", {}).values()]
    queries = [template for text in texts for template in TEMPLATE.findall(text) if "query" in template]
    names = [name for query in queries for name in re.findall(r"[a-zA-Z_:][\w:]*", query)]
    return [selector for expr in (rule["expr"], *map(_named, names)) for selector in _selectors(expr)]


def _looked_at(check: dict[str, Any]) -> list[Selector]:
    return _selectors(check["expr"] if "expr" in check else f'ALERTS{{alertname="{check["alertname"]}"}}')


@cache
def _selectors(expr: str) -> list[Selector]:
    nodes: list[Expr] = []
    promql_parser.walk(promql_parser.parse(expr), nodes.append)
    return [_matchers(node) for node in nodes if isinstance(node, VectorSelector)]


def _matchers(selector: VectorSelector) -> Selector:
    name = _selectors(_named(selector.name))[0] if selector.name else ()
    return (*name, *selector.matchers.matchers)


def _named(name: str) -> str:
    return f'{{__name__="{name}"}}'


def _made_by(rule: Rule) -> Iterable[dict[str, str]]:
    """The labels of the rule's series, as far as they can be known before it is evaluated."""
    own = {name: text for name, text in rule.get("labels", {}).items() if not TEMPLATE.search(text)}
    if "record" in rule:
        return [{**own, "__name__": rule["record"]}]
    return [{**own, "__name__": name, "alertname": rule["alert"]} for name in ("ALERTS", "ALERTS_FOR_STATE")]


@cache
def _series(series: str) -> dict[str, str]:
    (selector,) = _selectors(series)
    return {matcher.name: matcher.value for matcher in selector}


def _may_select(selector: Selector, known: dict[str, str]) -> bool:
    return all(_matches(matcher, known[matcher.name]) for matcher in selector if matcher.name in known)


def _selects(selector: Selector, labels: dict[str, str]) -> bool:
    return all(_matches(matcher, labels.get(matcher.name, "")) for matcher in selector)


def _matches(matcher: Matcher, value: str) -> bool:
    if matcher.op in (MatchOp.Re, MatchOp.NotRe):
        equal = re.fullmatch(matcher.value, value) is not None
    else:
        equal = matcher.value == value
    return equal if matcher.op in (MatchOp.Equal, MatchOp.Re) else not equal


def _seconds(duration: str) -> float:
    return promql_parser.parse_duration(duration).total_seconds()
