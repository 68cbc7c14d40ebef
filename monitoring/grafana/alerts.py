"""What a panel takes from an alert: the threshold to draw and the runbook to link to."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import promql_parser
import yaml
from promql_parser import BinaryExpr, NumberLiteral

from monitoring.slo import Slo

RULES = Path(__file__).parents[1] / "prometheus/rules"


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert by its name."""

    name: str
    runbook_url: str
    threshold: float | None
    """Above it the alert fires; None unless that is all there is to its condition."""


def read_alerts(slo: Slo) -> Mapping[str, Alert]:
    """Every alert of the rules; of several by one name the first."""
    alerts: dict[str, Alert] = {}
    for path in sorted(RULES.glob("*.yaml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                if name := rule.get("alert"):
                    alert = Alert(name, slo.runbook_url(name), _threshold(rule["expr"]))
                    alerts.setdefault(name, alert)
    return alerts


def _threshold(expr: str) -> float | None:
    match promql_parser.parse(expr):
        case BinaryExpr(op=op, rhs=NumberLiteral(val=value)) if str(op) == ">" and value > 0:
            return float(value)
    return None
