"""Where a request's time goes, and what the batches are made of."""

from collections.abc import Mapping

from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from monitoring.grafana.alerts import Alert
from monitoring.grafana.board import INSTANCE, MODEL, NAMESPACE, Row, board
from monitoring.grafana.panels import Limits, Query, bad_above, distribution, graph
from monitoring.grafana.queries import (
    OF_INSTANCES,
    OF_MODELS,
    OF_SERVICE,
    increase,
    quantile,
    rate,
    series,
    total,
)
from monitoring.slo import Slo

UID = "vitrine-inference"
STAGES = "inference_stage_duration_seconds"
QUANTILES = (0.5, 0.95, 0.99)


def dashboard(slo: Slo, alerts: Mapping[str, Alert]) -> Dashboard:
    """For whoever tunes the service."""
    return board(
        UID,
        "Inference",
        "The stages of a request, the queue, the batches and the tokens, by instance and model.",
        [NAMESPACE, INSTANCE, MODEL],
        [_requests(alerts), _stages(slo, alerts), _queue(slo, alerts), _batches(alerts), _tokens(alerts)],
        slo,
    )


def _share(outcome: str) -> str:
    ended = total(rate("inference_requests_total", OF_MODELS, f'outcome="{outcome}"'))
    return f"{ended} / ({total(rate('inference_requests_total', OF_MODELS))} > 0)"


def _requests(alerts: Mapping[str, Alert]) -> Row:
    return Row(
        "How do requests end?",
        [
            graph(
                "Outcomes",
                "Requests a second by outcome. rejected: overload, or no model yet. expired: past their "
                "deadline. cancelled: the client went. invalid: the caller's error. failed: ours.",
                Query(total(rate("inference_requests_total", OF_MODELS), "outcome"), "{{outcome}}"),
                unit=units.RequestsPerSecond,
                stacked=True,
            ),
            graph(
                "Refused requests",
                "Refusals a second by reason. wait: the queue is too long in time. queue_inputs, "
                "queue_tokens and queue_bytes: the server holds all that it may. Only starting and failed "
                "are no overload.",
                Query(total(rate("inference_rejections_total", OF_MODELS), "reason"), "{{reason}}"),
                unit=units.RequestsPerSecond,
                stacked=True,
                alert=alerts["RequestsShed"],
            ),
            graph(
                "Deadlines",
                "Share of requests that passed their deadline, and of those whose client went. Both rising "
                "together: answers come later than callers are ready to wait.",
                Query(_share("expired"), "expired"),
                Query(_share("cancelled"), "cancelled"),
                unit=units.PercentUnit,
                alert=alerts["DeadlineMisses"],
            ),
        ],
    )


def _stages(slo: Slo, alerts: Mapping[str, Alert]) -> Row:
    wait = slo.allowed_wait.total_seconds()
    return Row(
        "In which stage is the time spent?",
        [
            graph(
                "Stages",
                "p95 of each stage: the widest band is where to look. Each point is a sampled request: click "
                "it for its trace.",
                Query(
                    f"histogram_quantile(0.95, sum by (stage, le) ({rate(f'{STAGES}_bucket', OF_MODELS)}))",
                    "{{stage}}",
                    exemplars=True,
                ),
                unit=units.Seconds,
                width=24,
                stacked=True,
                alert=alerts["LatencyBudgetBurn"],
            ),
            _stage("tokenize", "Tokenizing", "Above a few milliseconds: very long inputs, or a starved CPU."),
            _stage(
                "queue",
                "Waiting",
                f"The wait for a batch. The dashed line is the {wait * 1000:g} ms that the objective allows "
                "for all of it: p99 above it is too little capacity.",
                limits=bad_above(wait),
                alert=alerts["QueueWaitHigh"],
            ),
            _stage(
                "compute", "Computing", "Grows with batches and with lengths; otherwise the device is slow."
            ),
            _stage("respond", "Responding", "Writing the answer. Above a few milliseconds: a starved CPU."),
        ],
    )


def _stage(
    stage: str, title: str, meaning: str, *, limits: Limits | None = None, alert: Alert | None = None
) -> timeseries.Panel:
    return graph(
        title,
        f"Stage {stage}. {meaning}",
        *(
            Query(
                quantile(share, STAGES, OF_MODELS, f'stage="{stage}"'),
                f"p{share * 100:g}",
                exemplars=share == 0.99,
            )
            for share in QUANTILES
        ),
        unit=units.Seconds,
        width=6,
        limits=limits,
        alert=alert,
    )


def _queue(slo: Slo, alerts: Mapping[str, Alert]) -> Row:
    saturation = alerts["SaturationHigh"]
    return Row(
        "How much work waits?",
        [
            graph(
                "Queue",
                "Inputs that wait for a batch right now. A queue that never empties is more load than "
                "capacity; one on a single instance is load spread unevenly.",
                Query(series("inference_queued_inputs", OF_INSTANCES), "{{instance}}"),
                unit=units.Short,
                width=6,
                alert=alerts["QueueWaitHigh"],
            ),
            graph(
                "Queued tokens",
                "The same work in tokens, which is what it costs. Many tokens in few inputs: long texts.",
                Query(series("inference_queued_tokens", OF_INSTANCES), "{{instance}}"),
                unit=units.Short,
                width=6,
            ),
            graph(
                "Executing",
                "Inputs in the batches that run right now. 0 with a queue above: the worker stands still.",
                Query(series("inference_executing_inputs", OF_INSTANCES), "{{instance}}"),
                unit=units.Short,
                width=6,
                alert=alerts["WorkerStalled"],
            ),
            graph(
                "Saturation",
                "Predicted time to finish all admitted work, divided by the wait that the objective allows. "
                f"Above {float(100 * slo.saturation.autoscaler_target):g} % the autoscaler adds instances, "
                "above 100 % answers come late.",
                Query(
                    series("inference_saturation_ratio", OF_INSTANCES),
                    "{{instance}}",
                ),
                unit=units.PercentUnit,
                width=6,
                limits=bad_above(saturation.threshold or 1, near=float(slo.saturation.autoscaler_target)),
                alert=saturation,
            ),
        ],
    )


def _batches(alerts: Mapping[str, Alert]) -> Row:
    return Row(
        "What are the batches like?",
        [
            graph(
                "Batches",
                "Forward passes a second. None while inputs wait: the worker has stalled.",
                Query(
                    total(rate("inference_batch_duration_seconds_count", OF_MODELS), "instance"),
                    "{{instance}}",
                ),
                unit=units.OpsPerSecond,
                width=6,
                alert=alerts["WorkerStalled"],
            ),
            graph(
                "Forward pass",
                "Time of a forward pass. Rising while the batch size does not: throttling, or a neighbour on "
                "the device.",
                *(
                    Query(quantile(share, "inference_batch_duration_seconds", OF_MODELS), f"p{share * 100:g}")
                    for share in QUANTILES
                ),
                unit=units.Seconds,
                width=6,
            ),
            distribution(
                "Batch size",
                "How many inputs share a forward pass. Mostly 1 under load: batching does not work for this "
                "traffic.",
                Query(total(increase("inference_batch_size_bucket", OF_MODELS), "le"), "{{le}}"),
                unit=units.Short,
                width=6,
            ),
            graph(
                "Why batches were let go",
                "drained took all that waited, shared left some to other free workers: time to spare. "
                "max_inputs and max_tokens were full: under load, as it should be. lengths left out what "
                "would have been mostly padding.",
                Query(total(rate("inference_batch_releases_total", OF_MODELS), "reason"), "{{reason}}"),
                unit=units.OpsPerSecond,
                width=6,
                stacked=True,
            ),
        ],
    )


def _tokens(alerts: Mapping[str, Alert]) -> Row:
    return Row(
        "What is the work worth?",
        [
            graph(
                "Tokens",
                "Tokens computed a second: those of the inputs, and those that only fill a batch up. This is "
                "the throughput to compare versions and devices by.",
                Query(total(rate("inference_tokens_total", OF_MODELS), "kind"), "{{kind}}"),
                unit=units.CountsPerSecond,
                stacked=True,
            ),
            graph(
                "Padding",
                "Share of the computed tokens that are padding, for all instances together. Above the dashed "
                "line more is wasted than worked: lengths are mixed, see the runbook.",
                Query(
                    series("job_model:inference_padding:ratio_rate5m", OF_SERVICE, 'model_name=~"$model"'),
                    "{{model_name}}",
                ),
                unit=units.PercentUnit,
                alert=alerts["PaddingWaste"],
            ),
            graph(
                "Truncated inputs",
                "Inputs a second that were longer than the model reads, so that their ends counted for "
                "nothing. More than a few: tell the callers to split their texts.",
                Query(
                    total(rate("inference_truncated_inputs_total", OF_MODELS), "model_name"),
                    "{{model_name}}",
                ),
                unit=units.CountsPerSecond,
            ),
        ],
    )
