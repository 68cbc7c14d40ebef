"""What nothing exposes cannot be asked for."""

import pytest

from app.telemetry.metrics import INFERENCE_BUCKETS
from monitoring.catalogue import documented, unknown_names
from monitoring.slo import LATENCY_BUCKETS


def test_a_threshold_can_be_any_bucket_of_the_running_server() -> None:
    assert [float(edge) for edge in LATENCY_BUCKETS] == list(INFERENCE_BUCKETS)


def test_vitrines_metrics_are_those_of_its_document() -> None:
    series = documented()

    assert series["inference_request_duration_seconds_bucket"].keys() == {"model_name", "task", "le"}
    assert series["gpu_ecc_errors_total"]["kind"] == {"corrected", "uncorrected"}
    assert series["inference_queued_tokens"] == {}
    assert "inference_request_duration_seconds" not in series


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("rate(inference_request_total[5m])", "no metric inference_request_total"),
        ('up{task="rerank"}', "no label task on up"),
        ("sum by (modelname) (rate(inference_tokens_total[5m]))", "no label modelname to aggregate by"),
        (
            'inference_requests_total{outcome="expire"}',
            'outcome="expire" matches no inference_requests_total',
        ),
        ('kube_pod_status_phase{phase="Rubbish"}', 'phase="Rubbish" matches no kube_pod_status_phase'),
        (
            'kube_pod_status_ready{condition="Ready"}',
            'condition="Ready" matches no kube_pod_status_ready',
        ),
        (
            'kube_horizontalpodautoscaler_status_condition{condition="Active",status!="True"}',
            'condition="Active" matches no kube_horizontalpodautoscaler_status_condition; '
            'status!="True" matches no kube_horizontalpodautoscaler_status_condition',
        ),
        (
            'kube_pod_container_status_waiting_reason{reason="CrashLoopBackoff"}',
            'reason="CrashLoopBackoff" matches no kube_pod_container_status_waiting_reason',
        ),
        (
            'kube_pod_container_status_last_terminated_reason{reason="OomKilled"}',
            'reason="OomKilled" matches no kube_pod_container_status_last_terminated_reason',
        ),
        (
            'kube_pod_container_resource_limits{resource="nvidia.com/gpu"}',
            'resource="nvidia.com/gpu" matches no kube_pod_container_resource_limits',
        ),
        (
            'inference_rejections_total{reason=~"queue_.*|waiting"}',
            'reason=~"queue_.*|waiting" matches no inference_rejections_total',
        ),
    ],
)
def test_what_does_not_exist_is_named(query: str, problem: str) -> None:
    assert "; ".join(unknown_names(query, frozenset())) == problem


@pytest.mark.parametrize(
    "query",
    [
        'sum by (reason) (rate(inference_rejections_total{reason=~"queue_.*|wait",pod="a"}[5m]))',
        'recorded:metric:rate5m{slo="latency"} > 1',
        "time() - 3",
    ],
)
def test_what_exists_is_accepted(query: str) -> None:
    assert list(unknown_names(query, frozenset({"recorded:metric:rate5m"}))) == []
