"""What prometheus-adapter does with its configuration, without an API server.

After `pkg/naming/metrics_query.go` and `pkg/custom-provider/provider.go` of its source: a rule's query is a
Go template, of which only plain fields are understood here; a value finds its pod by the label for pods.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from monitoring.autoscaling.algorithm import milli
from tests.live.prometheus import Prometheus

CONFIG = Path(__file__).parents[2] / "k8s/components/autoscaling-adapter/config.yaml"


class Adapter:
    """Serves the custom metrics of pods out of a Prometheus."""

    def __init__(self, prometheus: Prometheus, config: Path = CONFIG) -> None:
        self._prometheus = prometheus
        self._rules: list[dict[str, Any]] = yaml.safe_load(config.read_text())["rules"]

    def discover(self) -> dict[str, dict[str, Any]]:
        """The metrics that it offers for pods, each with the rule that found it."""
        found = {}
        for rule in self._rules:
            namespace, pod = self._labels(rule)
            for labels in self._prometheus.series(rule["seriesQuery"]):
                assert labels[namespace]
                assert labels[pod]
                found[labels["__name__"]] = rule
        return found

    def pods(self, namespace: str, metric: str, names: Sequence[str]) -> dict[str, int]:
        """The metric's values in thousandths, of those pods that have one."""
        rule = self.discover()[metric]
        namespace_label, pod_label = self._labels(rule)
        matcher = "=~" if len(names) > 1 else "="
        fields = {
            "Series": metric,
            "LabelMatchers": f'{namespace_label}="{namespace}",{pod_label}{matcher}"{"|".join(names)}"',
            "GroupBy": pod_label,
        }
        query = re.sub(r"<<\s*\.(\w+)\s*>>", lambda field: fields[field[1]], rule["metricsQuery"])
        assert "<<" not in query
        values: dict[str, int] = {}
        for labels, value in self._prometheus.query(query):
            assert labels[pod_label] not in values, "two values for one pod"
            values[labels[pod_label]] = milli(value)
        return values

    @staticmethod
    def _labels(rule: dict[str, Any]) -> tuple[str, str]:
        labels = {kind["resource"]: label for label, kind in rule["resources"]["overrides"].items()}
        return labels["namespace"], labels["pod"]
