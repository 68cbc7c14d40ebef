"""Every metric that a rule, a runbook or a dashboard may name, with its labels and their possible values.

Vitrine's are read from docs/metrics.md, which a test holds against the running server. The others are those
that we use of the exporters, as their documentation has them.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import promql_parser
from promql_parser import AggregateExpr, Expr, Matcher, MatchOp, VectorSelector

Labels = dict[str, frozenset[str]]
"""The values that each label can have; none means any."""

DOCUMENT = Path(__file__).parents[1] / "docs/metrics.md"
ENTRY = re.compile(r"^### `(\w+)`\n\n(\w+)\. Unit: [^.]+\. Labels: ([^.]+)\.", re.MULTILINE)


def documented() -> dict[str, Labels]:
    """Vitrine's series."""
    series: dict[str, Labels] = {}
    for name, kind, text in ENTRY.findall(DOCUMENT.read_text()):
        labels: Labels = {}
        for label in text.split("; ") if text != "none" else ():
            label_name, _, values = label.partition(" = ")
            labels[label_name.strip("`")] = frozenset(values.split(", ")) if values else frozenset()
        if kind == "Histogram":
            series |= {f"{name}_count": labels, f"{name}_sum": labels}
            series[f"{name}_bucket"] = labels | {"le": frozenset()}
        else:
            series[name] = labels
    return series


def _metrics(labels: str, *names: str, **values: str) -> dict[str, Labels]:
    """Series with these labels; `values` are those that a label can have."""
    known = {label: frozenset(values.get(label, "").split()) for label in labels.split()}
    return dict.fromkeys(names, known)


TRUTH = "true false unknown"

# kube-state-metrics 2.20. Reasons are the kubelet's; resources are those that a pod of ours may ask for.
KUBE_STATE = (
    _metrics(
        "horizontalpodautoscaler",
        "kube_horizontalpodautoscaler_spec_max_replicas",
        "kube_horizontalpodautoscaler_spec_min_replicas",
        "kube_horizontalpodautoscaler_status_current_replicas",
        "kube_horizontalpodautoscaler_status_desired_replicas",
    )
    | _metrics(
        "horizontalpodautoscaler condition status",
        "kube_horizontalpodautoscaler_status_condition",
        condition="AbleToScale ScalingActive ScalingLimited",
        status=TRUTH,
    )
    | _metrics(
        "deployment",
        "kube_deployment_spec_replicas",
        "kube_deployment_status_observed_generation",
        "kube_deployment_status_replicas",
        "kube_deployment_status_replicas_available",
        "kube_deployment_status_replicas_updated",
    )
    | _metrics("uid phase", "kube_pod_status_phase", phase="Pending Running Succeeded Failed Unknown")
    | _metrics("uid condition", "kube_pod_status_ready", condition=TRUTH)
    | _metrics("uid", "kube_pod_start_time", "kube_pod_container_status_restarts_total")
    | _metrics(
        "uid reason",
        "kube_pod_container_status_waiting_reason",
        reason="ContainerCreating CrashLoopBackOff CreateContainerConfigError CreateContainerError "
        "ErrImagePull ImagePullBackOff InvalidImageName PodInitializing",
    )
    | _metrics(
        "uid reason",
        "kube_pod_container_status_last_terminated_reason",
        reason="Completed ContainerCannotRun DeadlineExceeded Error OOMKilled StartError",
    )
    | _metrics("uid", "kube_pod_container_status_last_terminated_exitcode")
    | _metrics(
        "uid resource unit",
        "kube_pod_container_resource_limits",
        "kube_pod_container_resource_requests",
        resource="cpu memory ephemeral_storage nvidia_com_gpu",
        unit="core byte integer",
    )
)

# cAdvisor in the kubelet: what `prometheus.yml` keeps of it
CADVISOR = _metrics(
    "id image name cpu",
    "container_cpu_cfs_periods_total",
    "container_cpu_cfs_throttled_periods_total",
    "container_cpu_usage_seconds_total",
    "container_memory_working_set_bytes",
)

PROMETHEUS = (
    _metrics("", "up", "scrape_duration_seconds", "scrape_samples_scraped")
    | _metrics("alertname alertstate severity team window slo", "ALERTS")
    | _metrics("rule_group", "prometheus_rule_evaluation_failures_total")
    | _metrics("rule_group", "prometheus_rule_group_last_duration_seconds")
    | _metrics("", "prometheus_config_last_reload_successful", "prometheus_tsdb_head_series")
    | _metrics("", "prometheus_notifications_alertmanagers_discovered")
    | _metrics("alertmanager", "prometheus_notifications_errors_total", "prometheus_notifications_sent_total")
)

ALERTMANAGER = (
    _metrics("", "alertmanager_config_last_reload_successful")
    | _metrics("state", "alertmanager_alerts")
    | _metrics("integration", "alertmanager_notifications_total")
    | _metrics("integration reason", "alertmanager_notifications_failed_total")
)

METRICS: Mapping[str, Labels] = documented() | KUBE_STATE | CADVISOR | PROMETHEUS | ALERTMANAGER

TARGET_LABELS: Labels = dict.fromkeys(
    ("job", "instance", "namespace", "pod", "container", "node"), frozenset()
)
"""What `prometheus.yml` gives every series of a target, or honours from an exporter that tells it."""

RECORDED_LABELS: Labels = dict.fromkeys(
    ("slo", *(name for labels in METRICS.values() for name in labels)), frozenset()
)


def unknown_names(query: str, recorded: frozenset[str]) -> Iterator[str]:
    """Each metric, label or value in the query that nothing exposes, as a sentence.

    Args:
        query: PromQL.
        recorded: the names that the recording rules give.

    Raises:
        ValueError: if it is not PromQL.
    """
    nodes: list[Expr] = []
    promql_parser.walk(promql_parser.parse(query), nodes.append)
    seen = dict(TARGET_LABELS)
    for selector in (node for node in nodes if isinstance(node, VectorSelector)):
        name = selector.name or ""
        labels = RECORDED_LABELS if name in recorded else METRICS.get(name)
        if labels is None:
            yield f"no metric {name}"
            continue
        labels = TARGET_LABELS | labels
        seen |= labels
        for matcher in selector.matchers.matchers:
            if matcher.name not in labels:
                yield f"no label {matcher.name} on {name}"
            elif not _can_match(matcher, labels[matcher.name]):
                yield f"{matcher} matches no {name}"
    for aggregation in (node for node in nodes if isinstance(node, AggregateExpr)):
        for label in aggregation.modifier.labels if aggregation.modifier else ():
            if label not in seen:
                yield f"no label {label} to aggregate by"


def _can_match(matcher: Matcher, values: frozenset[str]) -> bool:
    """Whether the label can have the value that is named, or a value for each alternative of the pattern."""
    if not values:
        return True
    if matcher.op in (MatchOp.Re, MatchOp.NotRe):
        alternatives = matcher.value.split("|") if "(" not in matcher.value else [matcher.value]
        return all(any(re.fullmatch(pattern, value) for value in values) for pattern in alternatives)
    return matcher.value in values
