"""Small mistakes that somebody could make in a rule: each should make a test fail."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import promql_parser
from promql_parser import BinaryExpr, Expr, MatrixSelector, NumberLiteral, VectorSelector

from monitoring.suite import Place, Rule, Rules

FLIPPED = {">": "<", "<": ">", ">=": "<=", "<=": ">=", "==": "!=", "!=": "=="}
RECORDED_WINDOW = re.compile(r"(.*rate)(\d+[smhd])")


@dataclass(frozen=True, eq=False)
class Mutant:
    """A rule with one mistake in it."""

    place: Place
    name: str
    change: str
    rule: Rule


def mutants(rules: Rules) -> Iterator[Mutant]:
    """Every mutant of every rule."""
    recorded = frozenset(rule["record"] for rule in rules.values() if "record" in rule)
    for place, rule in rules.items():
        for change, changed in mutations(rule, recorded):
            yield Mutant(place, _name(rule), change.replace("{}", ""), changed)


def _name(rule: Rule) -> str:
    labels = rule.get("labels", {})
    told_apart = [labels[label] for label in ("severity", "window", "slo") if label in labels]
    return " ".join([rule.get("alert") or rule["record"], *told_apart])


def mutations(rule: Rule, recorded: frozenset[str]) -> Iterator[tuple[str, Rule]]:
    """Each mutation of the rule: what was changed, and the changed rule.

    Args:
        rule: an alert or a recording rule, as in the rule file.
        recorded: the names of all recorded series, among which a window can be swapped.
    """
    for field in ("for", "keep_firing_for"):
        if field in rule:
            yield f"drop {field}: {rule[field]}", {key: value for key, value in rule.items() if key != field}
    expr = promql_parser.parse(rule["expr"])
    for index, node in enumerate(_nodes(expr)):
        for text in _variants(node, recorded):
            mutant = _replaced(expr, index, promql_parser.parse(text))
            yield f"{node} → {text}", {**rule, "expr": str(mutant)}


def _nodes(expr: Expr) -> list[Expr]:
    nodes: list[Expr] = []
    promql_parser.walk(expr, nodes.append)
    return nodes


def _replaced(expr: Expr, index: int, replacement: Expr) -> Expr:
    """The expression with its node at this place of the walk replaced."""
    place = -1

    def visit(_: Expr) -> Expr | None:
        nonlocal place
        place += 1
        return replacement if place == index else None

    return promql_parser.transform(expr, visit)


def _variants(node: Expr, recorded: frozenset[str]) -> Iterator[str]:
    if isinstance(node, BinaryExpr) and str(node.op) in FLIPPED:
        yield from _comparisons(node)
    elif isinstance(node, MatrixSelector):
        yield from _ranges(node)
    elif isinstance(node, VectorSelector):
        yield from _without_a_matcher(node)
        yield from _neighbouring_windows(node, recorded)


def _comparisons(node: BinaryExpr) -> Iterator[str]:
    text, left, right, operator = str(node), str(node.lhs), str(node.rhs), str(node.op)
    modifier = text[len(left) + len(operator) + 2 : len(text) - len(right)]
    yield f"{left} {FLIPPED[operator]} {modifier}{right}"
    if not (isinstance(node.rhs, NumberLiteral) and node.rhs.val == 0):  # 20 % of 0 is nothing
        yield f"{left} {operator} {modifier}({right}) * 0.8"
        yield f"{left} {operator} {modifier}({right}) * 1.2"


def _ranges(node: MatrixSelector) -> Iterator[str]:
    old = f"[{promql_parser.display_duration(node.range)}]"
    for new in (node.range * 3, node.range / 3):
        yield str(node).replace(old, f"[{promql_parser.display_duration(new)}]")


def _without_a_matcher(node: VectorSelector) -> Iterator[str]:
    matchers = [str(matcher) for matcher in node.matchers.matchers]
    for dropped in matchers:
        rest = ",".join(matcher for matcher in matchers if matcher != dropped)
        yield str(node).replace(str(node.matchers), f"{{{rest}}}")


def _neighbouring_windows(node: VectorSelector, recorded: frozenset[str]) -> Iterator[str]:
    window = RECORDED_WINDOW.fullmatch(node.name or "")
    if not window or node.name not in recorded:
        return
    alike = (RECORDED_WINDOW.fullmatch(name) for name in recorded)
    windows = sorted((found[2] for found in alike if found and found[1] == window[1]), key=_duration)
    place = windows.index(window[2])
    for neighbour in windows[max(place - 1, 0) : place] + windows[place + 1 : place + 2]:
        yield str(node).replace(window[0], window[1] + neighbour)


def _duration(text: str) -> timedelta:
    return promql_parser.parse_duration(text)
