"""Every metric that a rule, a runbook or a dashboard may name, by its source, with the labels that it has.

A test compares Vitrine's part with what the running server exposes; the exporters' parts say what their
documentation says.
"""

from collections.abc import Iterator

import promql_parser
from promql_parser import AggregateExpr, Expr, VectorSelector

Metrics = dict[str, frozenset[str]]


def _metrics(labels: str, *names: str) -> Metrics:
    return {name: frozenset(labels.split()) for name in names}


def _histogram(labels: str, *names: str) -> Metrics:
    series: Metrics = {}
    for name in names:
        series |= _metrics(labels, f"{name}_count", f"{name}_sum")
        series |= _metrics(f"{labels} le", f"{name}_bucket")
    return series


TARGET_LABELS = frozenset({"job", "instance", "namespace", "pod", "container", "node"})
"""What `prometheus.yml` gives every series of a target, or honours from an exporter that tells it."""

VITRINE: Metrics = (
    _histogram(
        "http_request_method http_route http_response_status_code",
        "http_server_request_duration_seconds",
    )
    | _metrics("", "http_server_active_requests")
    | _metrics("model_name task outcome", "inference_requests_total")
    | _metrics("model_name reason", "inference_rejections_total", "inference_batch_releases_total")
    | _histogram("model_name task", "inference_request_duration_seconds")
    | _histogram("model_name stage", "inference_stage_duration_seconds")
    | _histogram("model_name", "inference_batch_size", "inference_batch_duration_seconds")
    | _metrics("model_name kind", "inference_tokens_total")
    | _metrics("model_name", "inference_truncated_inputs_total", "inference_model_ready")
    | _metrics("", "inference_queued_inputs", "inference_queued_tokens", "inference_executing_inputs")
    | _metrics("", "inference_saturation_ratio", "inference_worker_heartbeat_timestamp_seconds")
    | _metrics("model_name", "inference_model_load_duration_seconds", "inference_model_info")
    | _metrics("outcome", "telemetry_spans_total")
    | _metrics("", "telemetry_span_export_last_success_timestamp_seconds")
)

GPU: Metrics = (
    _metrics(
        "gpu uuid device_name",
        "gpu_up",
        "gpu_utilization_ratio",
        "gpu_memory_used_bytes",
        "gpu_memory_total_bytes",
        "gpu_memory_utilization_ratio",
        "gpu_temperature_celsius",
        "gpu_power_watts",
        "gpu_power_limit_watts",
        "gpu_energy_joules_total",
        "gpu_sm_clock_hertz",
        "gpu_memory_clock_hertz",
        "gpu_pcie_replays_total",
    )
    | _metrics("gpu uuid device_name reason", "gpu_clocks_event_reason")
    | _metrics("gpu uuid device_name kind", "gpu_ecc_errors_total", "gpu_remapped_rows")
    | _metrics("gpu uuid device_name xid", "gpu_xid_errors_total")
    | _metrics("gpu uuid device_name direction", "gpu_pcie_bytes_total")
    | _metrics("", "gpu_collect_last_success_timestamp_seconds")
)

# kube-state-metrics 2.20
KUBE_STATE: Metrics = (
    _metrics(
        "horizontalpodautoscaler",
        "kube_horizontalpodautoscaler_spec_max_replicas",
        "kube_horizontalpodautoscaler_spec_min_replicas",
        "kube_horizontalpodautoscaler_status_current_replicas",
        "kube_horizontalpodautoscaler_status_desired_replicas",
    )
    | _metrics("horizontalpodautoscaler condition status", "kube_horizontalpodautoscaler_status_condition")
    | _metrics(
        "deployment",
        "kube_deployment_spec_replicas",
        "kube_deployment_status_observed_generation",
        "kube_deployment_status_replicas",
        "kube_deployment_status_replicas_available",
        "kube_deployment_status_replicas_updated",
    )
    | _metrics("uid phase", "kube_pod_status_phase")
    | _metrics("uid condition", "kube_pod_status_ready")
    | _metrics("uid", "kube_pod_start_time", "kube_pod_container_status_restarts_total")
    | _metrics("uid reason", "kube_pod_container_status_waiting_reason")
    | _metrics("uid reason", "kube_pod_container_status_last_terminated_reason")
    | _metrics("uid", "kube_pod_container_status_last_terminated_exitcode")
    | _metrics(
        "uid resource unit", "kube_pod_container_resource_limits", "kube_pod_container_resource_requests"
    )
)

# cAdvisor in the kubelet: what `prometheus.yml` keeps of it
CADVISOR: Metrics = _metrics(
    "id image name cpu",
    "container_cpu_cfs_periods_total",
    "container_cpu_cfs_throttled_periods_total",
    "container_cpu_usage_seconds_total",
    "container_memory_working_set_bytes",
)

PROMETHEUS: Metrics = (
    _metrics("", "up", "scrape_duration_seconds", "scrape_samples_scraped")
    | _metrics("alertname alertstate severity team window slo", "ALERTS")
    | _metrics("rule_group", "prometheus_rule_evaluation_failures_total")
    | _metrics("rule_group", "prometheus_rule_group_last_duration_seconds")
    | _metrics("", "prometheus_config_last_reload_successful", "prometheus_tsdb_head_series")
    | _metrics("", "prometheus_notifications_alertmanagers_discovered")
    | _metrics("alertmanager", "prometheus_notifications_errors_total", "prometheus_notifications_sent_total")
)

ALERTMANAGER: Metrics = (
    _metrics("", "alertmanager_config_last_reload_successful")
    | _metrics("state", "alertmanager_alerts")
    | _metrics("integration", "alertmanager_notifications_total")
    | _metrics("integration reason", "alertmanager_notifications_failed_total")
)

DERIVED_LABELS = frozenset({"slo", "severity", "team", "window"})
"""What rules add."""

METRICS: Metrics = VITRINE | GPU | KUBE_STATE | CADVISOR | PROMETHEUS | ALERTMANAGER


def unknown_names(query: str, recorded: frozenset[str]) -> Iterator[str]:
    """Each metric and label in the query that nothing exposes, as a sentence.

    Args:
        query: PromQL.
        recorded: the names that the recording rules give.

    Raises:
        ValueError: if it is not PromQL.
    """
    nodes: list[Expr] = []
    promql_parser.walk(promql_parser.parse(query), nodes.append)
    seen = TARGET_LABELS | DERIVED_LABELS
    for selector in (node for node in nodes if isinstance(node, VectorSelector)):
        name = selector.name or ""
        if name in recorded:
            labels = seen = TARGET_LABELS | DERIVED_LABELS | frozenset().union(*METRICS.values())
        elif name in METRICS:
            labels = METRICS[name] | TARGET_LABELS
            seen |= labels
        else:
            yield f"no metric {name}"
            continue
        for matcher in selector.matchers.matchers:
            if matcher.name not in labels:
                yield f"no label {matcher.name} on {name}"
    for aggregation in (node for node in nodes if isinstance(node, AggregateExpr)):
        for label in aggregation.modifier.labels if aggregation.modifier else ():
            if label not in seen:
                yield f"no label {label} to aggregate by"
