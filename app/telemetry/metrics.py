"""Every metric but the GPUs' (see `app.telemetry.gpu`). docs/metrics.md says what each is good for.

Counters and histograms are fed by the three facts. Gauges are asked for when a scrape comes: kept by hand,
they would drift.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from typing import get_args

from opentelemetry import trace
from prometheus_client import CollectorRegistry, Counter, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from app.admission import Admission
from app.batcher import Batcher
from app.batching import Reason
from app.errors import Outcome
from app.health import Health
from app.lifecycle import Lifecycle
from app.models.runner import ModelRunner, Task
from app.observer import STAGES, BatchRecord, HttpRecord, RequestRecord
from app.telemetry.export import ExportCounts
from app.telemetry.histograms import Histogram
from app.telemetry.http import UNMATCHED

HTTP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Seconds: OpenTelemetry's advice for http.server.request.duration."""

INFERENCE_BUCKETS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2),
    *(0.25, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 10),
)
"""Seconds: small encoders answer in milliseconds. A latency objective's threshold must be one of them."""

REJECTIONS = ("starting", "failed", "queue_inputs", "queue_tokens", "queue_bytes", "wait")
"""The reasons of `app.errors.Unavailable` and `app.errors.Overloaded`."""


class MetricsObserver:
    """Counts and measures what the facts tell, of one model.

    What may happen has its series from the start, at 0: a series that is born with its first event hides that
    event from `rate` and `increase`. HTTP's are the exception, since most of their combinations never happen.
    """

    def __init__(self, registry: CollectorRegistry, *, model: str, max_batch_inputs: int) -> None:
        """`model` is the public name, and `max_batch_inputs` the largest batch that there can be."""
        # Of the whole process, as the library has it: else each series has a twin that tells its birth.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._model = model

        def histogram(name: str, documentation: str, labels: list[str], bounds: Sequence[float]) -> Histogram:
            made = Histogram(name, documentation, labels, bounds)
            registry.register(made)
            return made

        self._http = histogram(
            "http_server_request_duration_seconds",
            "Time from the head of an HTTP request to the end of its response.",
            ["http_request_method", "http_route", "http_response_status_code"],
            HTTP_BUCKETS,
        )
        requests = Counter(
            "inference_requests_total",
            "Inference requests, by how they ended.",
            ["model_name", "task", "outcome"],
            registry=registry,
        )
        self._requests = {
            (task.value, outcome): requests.labels(model, task, outcome)
            for task in Task
            for outcome in get_args(Outcome)
        }
        self._rejections = Counter(
            "inference_rejections_total",
            "Inference requests refused before any work on them.",
            ["model_name", "reason"],
            registry=registry,
        )
        for reason in REJECTIONS:
            self._rejections.labels(model, reason)
        durations = histogram(
            "inference_request_duration_seconds",
            "Time from the arrival of an inference request to its answer, of those that were answered.",
            ["model_name", "task"],
            INFERENCE_BUCKETS,
        )
        self._durations = {task.value: durations.labels(model, task) for task in Task}
        stages = histogram(
            "inference_stage_duration_seconds",
            "Time in each stage that an inference request has passed.",
            ["model_name", "stage"],
            INFERENCE_BUCKETS,
        )
        self._stages = {stage: stages.labels(model, stage) for stage in STAGES}
        self._truncated = Counter(
            "inference_truncated_inputs_total",
            "Inputs cut to the longest that the model reads.",
            ["model_name"],
            registry=registry,
        ).labels(model)

        self._batch_duration = histogram(
            "inference_batch_duration_seconds",
            "Time of the forward pass over a batch.",
            ["model_name"],
            INFERENCE_BUCKETS,
        ).labels(model)
        self._batch_size = histogram(
            "inference_batch_size",
            "Inputs in a batch.",
            ["model_name"],
            _powers_of_two(max_batch_inputs),
        ).labels(model)
        releases = Counter(
            "inference_batch_releases_total",
            "Batches, by why each was let go when it was.",
            ["model_name", "reason"],
            registry=registry,
        )
        self._releases = {reason.value: releases.labels(model, reason) for reason in Reason}
        tokens = Counter(
            "inference_tokens_total",
            "Tokens that the model computed: those of the inputs, and those that only pad a batch.",
            ["model_name", "kind"],
            registry=registry,
        )
        self._real_tokens = tokens.labels(model, "real")
        self._padding_tokens = tokens.labels(model, "padding")

    def http_finished(self, record: HttpRecord) -> None:
        """Measure it."""
        # Any method can be tried on any route: that many series would be of no use.
        route = UNMATCHED if record.status == HTTPStatus.METHOD_NOT_ALLOWED else record.route
        exchanges = self._http.labels(record.method, route, str(record.status))
        exchanges.observe(record.finished - record.started)

    def request_finished(self, record: RequestRecord) -> None:
        """Count it, and measure it and its stages, with the trace as an example if it is sampled."""
        self._requests[record.task, record.outcome].inc()
        if record.reason:
            self._rejections.labels(self._model, record.reason).inc()
        if record.truncated_inputs:
            self._truncated.inc(record.truncated_inputs)
        trace_id = _sampled_trace()
        if record.outcome == "ok":
            self._durations[record.task].observe(record.finished - record.arrived, trace_id)
        for stage, seconds in record.stages.durations().items():
            self._stages[stage].observe(seconds, trace_id)

    def batch_finished(self, record: BatchRecord) -> None:
        """Measure it, and count its tokens."""
        self._batch_duration.observe(record.finished - record.started)
        self._batch_size.observe(record.inputs)
        self._releases[record.reason].inc()
        self._real_tokens.inc(record.tokens)
        self._padding_tokens.inc(record.padding_tokens)


class StateCollector(Collector):
    """What the service's parts say of themselves when a scrape asks. Must be collected on the event loop."""

    def __init__(
        self,
        *,
        model: str,
        version: str,
        runner: ModelRunner,
        batcher: Batcher,
        admission: Admission,
        slo_wait: float,
        health: Health,
        lifecycle: Lifecycle,
        active_requests: Callable[[], int],
        spans: ExportCounts,
    ) -> None:
        """`slo_wait` is the wait in seconds that saturation is measured by."""
        self._model = model
        self._version = version
        self._runner = runner
        self._batcher = batcher
        self._admission = admission
        self._slo_wait = slo_wait
        self._health = health
        self._lifecycle = lifecycle
        self._active_requests = active_requests
        self._spans = spans

    def collect(self) -> Iterator[Metric]:
        """All of them, from one instant."""
        yield GaugeMetricFamily(
            "http_server_active_requests",
            "HTTP requests without a complete response.",
            self._active_requests(),
        )
        yield from self._load()
        yield from self._served_model()
        yield from self._exported_spans()

    def _load(self) -> Iterator[Metric]:
        now = self._batcher.snapshot()
        yield GaugeMetricFamily("inference_queued_inputs", "Inputs that wait for a batch.", now.queued_inputs)
        yield GaugeMetricFamily(
            "inference_queued_tokens", "Tokens of the inputs that wait for a batch.", now.queued_tokens
        )
        yield GaugeMetricFamily(
            "inference_executing_inputs", "Inputs in the batches that run.", now.executing_inputs
        )
        yield GaugeMetricFamily(
            "inference_saturation_ratio",
            "Predicted time to finish all admitted work, divided by the wait that the objective allows.",
            self._admission.backlog_seconds() / self._slo_wait,
        )
        yield GaugeMetricFamily(
            "inference_worker_heartbeat_timestamp_seconds",
            "When a worker last was free, or began or ended a batch.",
            time.time() - time.monotonic() + now.heartbeat,
        )

    def _served_model(self) -> Iterator[Metric]:
        ready = GaugeMetricFamily(
            "inference_model_ready",
            "1 if a request sent now would be answered, else 0.",
            labels=["model_name"],
        )
        ready.add_metric([self._model], self._health.ready() is None)
        yield ready
        if (seconds := self._lifecycle.load_seconds) is None:
            return
        duration = GaugeMetricFamily(
            "inference_model_load_duration_seconds",
            "Time to verify, load and warm up the model, until it first was ready.",
            labels=["model_name"],
        )
        duration.add_metric([self._model], seconds)
        yield duration
        info = self._runner.info
        yield InfoMetricFamily(
            "inference_model",
            "What is served, and on what.",
            {
                "model_name": self._model,
                "task": info.task,
                "architecture": info.architecture,
                "dtype": info.dtype,
                "device": info.device,
                "layout": "padded" if info.pads else "packed",
                "revision": info.revision or "",
                "version": self._version,
            },
        )

    def _exported_spans(self) -> Iterator[Metric]:
        spans = CounterMetricFamily(
            "telemetry_spans_total", "Sampled spans, by what has become of them.", labels=["outcome"]
        )
        for outcome in ("exported", "failed", "dropped"):
            spans.add_metric([outcome], getattr(self._spans, outcome))
        yield spans
        if self._spans.last_success is not None:
            yield GaugeMetricFamily(
                "telemetry_span_export_last_success_timestamp_seconds",
                "When the collector last took spans.",
                self._spans.last_success,
            )


def _powers_of_two(largest: int) -> list[int]:
    """From 1 to 128 at least, for instances with other settings to be added up, and on to `largest`."""
    return [2**n for n in range(max(7, (largest - 1).bit_length()) + 1)]


def _sampled_trace() -> int | None:
    """That of the current span, which is the request's server span; None unless it is sampled."""
    context = trace.get_current_span().get_span_context()
    return context.trace_id if context.trace_flags.sampled else None
