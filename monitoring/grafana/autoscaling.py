"""Is there as much capacity as is needed, and do the pods get what they were promised?"""

from collections.abc import Mapping

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from monitoring.grafana.alerts import Alert
from monitoring.grafana.board import NAMESPACE_OF_OBJECTS, POD, Row, board
from monitoring.grafana.panels import GREEN, GREY, RED, Query, State, bad_above, graph, listing, states
from monitoring.grafana.queries import OF_NAMESPACE, OF_PODS, OF_SERVICE, increase, rate, series, total
from monitoring.slo import Slo

UID = "vitrine-autoscaling"
HPA = "kube_horizontalpodautoscaler"
CONTAINER = "{{pod}} {{container}}"
EXIT_CODES = {
    "0": State("0: drained", GREEN),
    "66": State("66: model missing or corrupt", RED),
    "69": State("69: the device asked for is not there", RED),
    "70": State("70: the worker died or wedged", RED),
    "78": State("78: a setting is wrong", RED),
    "137": State("137: killed, mostly for want of memory", RED),
    "143": State("143: ended before it could drain", RED),
}


def dashboard(slo: Slo, alerts: Mapping[str, Alert]) -> Dashboard:
    """For whoever runs the cluster."""
    return board(
        UID,
        "Autoscaling and pods",
        "The autoscaler, the replicas, and what the pods use of what they may.",
        [NAMESPACE_OF_OBJECTS, POD],
        [_autoscaler(slo, alerts), _pods(alerts), _resources(alerts)],
        slo,
    )


def _autoscaler(slo: Slo, alerts: Mapping[str, Alert]) -> Row:
    target = slo.saturation.autoscaler_target
    return Row(
        "Does capacity follow load?",
        [
            graph(
                "Saturation and target",
                "What the autoscaler sees and aims at. It adds replicas while the average stays above "
                f"{float(100 * target):g} %, the lower dashed line; above 100 % answers come late, and it "
                "was too slow or has reached its maximum.",
                Query(f"avg({series('inference_saturation_ratio', OF_SERVICE, OF_NAMESPACE)})", "average"),
                unit=units.PercentUnit,
                limits=bad_above(alerts["SaturationHigh"].threshold or 1, near=float(target)),
                alert=alerts["SaturationHigh"],
            ),
            graph(
                "Replicas",
                "What the autoscaler wants, what is there, and what answers. Wanted at the maximum: raise "
                "it, or the service is at its end. Answering below present: pods start, or fail to.",
                Query(series(f"{HPA}_status_desired_replicas", OF_NAMESPACE), "wanted"),
                Query(series(f"{HPA}_status_current_replicas", OF_NAMESPACE), "present"),
                Query(
                    series("kube_deployment_status_replicas_available", OF_NAMESPACE),
                    "answering {{deployment}}",
                ),
                Query(series(f"{HPA}_spec_max_replicas", OF_NAMESPACE), "maximum"),
                Query(series(f"{HPA}_spec_min_replicas", OF_NAMESPACE), "minimum"),
                unit=units.Short,
                alert=alerts["HpaAtMaximum"],
            ),
            states(
                "Autoscaler conditions",
                "AbleToScale and ScalingActive must be yes, or nothing scales: mostly the metric is missing. "
                "ScalingLimited says that the minimum or the maximum holds it back.",
                Query(series(f"{HPA}_status_condition", OF_NAMESPACE, 'status="true"'), "{{condition}}"),
                names={"1": State("yes", "blue"), "0": State("no", GREY)},
                alert=alerts["HpaInactive"],
            ),
        ],
    )


def _pods(alerts: Mapping[str, Alert]) -> Row:
    exit_code = "kube_pod_container_status_last_terminated_exitcode"
    return Row(
        "Do the pods stay up?",
        [
            states(
                "Ready",
                "Whether each pod is sent requests. No, long after its start: its readiness probe says why.",
                Query(series("kube_pod_status_ready", OF_PODS, 'condition="true"'), "{{pod}}"),
                alert=alerts["ReplicasUnavailable"],
            ),
            graph(
                "Restarts",
                "Restarts of containers. Beginning at a rollout's mark, the new version is to blame; the "
                "last exit code, beside, says what for.",
                Query(increase("kube_pod_container_status_restarts_total", OF_PODS), CONTAINER),
                unit=units.Short,
                alert=alerts["CrashLooping"],
            ),
            listing(
                "Last exit codes",
                "Why containers last ended. kubectl describe shows their last words as the termination "
                "message.",
                Query(series(exit_code, OF_PODS), CONTAINER),
                columns={"pod": "Pod", "container": "Container", "Value": "Exit code"},
                names=EXIT_CODES,
                alert=alerts["CrashLooping"],
                nothing="none has ended",
            ),
            states(
                "Waiting",
                "Why containers do not run: CrashLoopBackOff ended too often, ImagePullBackOff found no "
                "image.",
                Query(
                    series("kube_pod_container_status_waiting_reason", OF_PODS), f"{CONTAINER} {{{{reason}}}}"
                ),
                names={"1": State("waits", RED), "0": State("no", GREEN)},
                width=12,
                alert=alerts["CrashLooping"],
            ),
            graph(
                "Time to get ready",
                "Seconds from a process's start until its model answers: the delay with which new capacity "
                "helps.",
                Query(
                    series("inference_model_load_duration_seconds", OF_SERVICE, OF_NAMESPACE), "{{instance}}"
                ),
                unit=units.Seconds,
                width=12,
            ),
        ],
    )


def _resources(alerts: Mapping[str, Alert]) -> Row:
    limits = "kube_pod_container_resource_limits"
    cpus = series(limits, OF_PODS, 'resource="cpu"')
    memory = series(limits, OF_PODS, 'resource="memory"')
    used_cpu = rate("container_cpu_usage_seconds_total", OF_PODS, 'container!=""')
    used_memory = series("container_memory_working_set_bytes", OF_PODS, 'container!=""')
    return Row(
        "Do they get what they need?",
        [
            graph(
                "CPU",
                "CPUs in use, and the limit. At the limit under load: as it should be, if CPU throttling "
                "beside is low.",
                Query(total(used_cpu, "pod", "container"), CONTAINER),
                Query(f"max by (container) ({cpus})", "limit {{container}}"),
                unit=units.Short,
                width=6,
            ),
            graph(
                "CPU throttling",
                "Share of the scheduler's periods in which the container was denied CPU. Above the dashed "
                "line latency suffers: raise the limit, or lower the threads.",
                Query(
                    series("namespace_pod_container:container_cpu_throttled:ratio_rate5m", OF_PODS), CONTAINER
                ),
                unit=units.PercentUnit,
                width=6,
                alert=alerts["CpuThrottled"],
            ),
            graph(
                "Memory",
                "Memory that cannot be given back. A steady climb over days is a leak.",
                Query(f"max by (pod, container) ({used_memory})", CONTAINER),
                Query(f"max by (container) ({memory})", "limit {{container}}"),
                unit=units.BytesIEC,
                width=6,
            ),
            graph(
                "Memory of limit",
                "The same as a share of the limit. At 100 % the kernel kills the container, with exit code "
                "137.",
                Query(series("namespace_pod_container:container_memory_limit:ratio", OF_PODS), CONTAINER),
                unit=units.PercentUnit,
                width=6,
                alert=alerts["MemoryNearLimit"],
            ),
        ],
    )
