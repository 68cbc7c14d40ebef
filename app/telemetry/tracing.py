"""Traces: a server span for each request, its stages as children, and a span for each batch with links.

Spans of stages and batches are built from the records' instants, after the fact. Nothing here is global, so
that several services can live in one process.
"""

import asyncio
import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from threading import Thread
from weakref import WeakKeyDictionary

from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.environment_variables import OTEL_SDK_DISABLED
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler, SamplingResult
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.service_attributes import SERVICE_NAME, SERVICE_VERSION
from opentelemetry.semconv.attributes.url_attributes import URL_QUERY
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode, Tracer, TraceState
from opentelemetry.util.types import Attributes, AttributeValue
from starlette.types import Scope

from app.context import RequestContext
from app.errors import SettingsInvalid
from app.observer import BatchRecord, HttpRecord, Observer, RequestRecord
from app.telemetry.export import ExportCounts, ExportQueue, exporter_from_environment
from app.telemetry.http import PROBES

logger = logging.getLogger(__name__)

MAX_LINKS = 128
"""Batches that the compute span of one request links to: the first ones. OpenTelemetry's default limit."""

MAX_ATTRIBUTE_LENGTH = 512
"""Characters. A path or a user agent can be as long as the edge lets a request's head be."""


class Tracing:
    """Makes spans and sends them, as the standard OTEL_* variables say."""

    def __init__(self, *, version: str, max_batch_inputs: int, flush_timeout: float) -> None:
        """`close` takes `flush_timeout` seconds at most. Raises `SettingsInvalid` if a variable is wrong."""
        self.counts = ExportCounts()
        self.observers: tuple[Observer, ...] = ()
        """To be told the facts; none if nobody would see the spans."""
        self._flush_timeout = flush_timeout
        self._provider: TracerProvider | None = None
        self._queue: ExportQueue | None = None
        if os.environ.get(OTEL_SDK_DISABLED, "").strip().lower() == "true":
            return
        try:
            self._provider = TracerProvider(
                resource=_resource(version),
                shutdown_on_exit=False,
                # No events: the only ones would be exceptions, whose messages may quote a text.
                span_limits=SpanLimits(
                    max_events=0,
                    max_links=max(MAX_LINKS, max_batch_inputs),
                    max_attribute_length=MAX_ATTRIBUTE_LENGTH,
                ),
                meter_provider=NoOpMeterProvider(),
            )
            if exporter := exporter_from_environment():
                self._queue = ExportQueue(exporter, self.counts)
        except ValueError as error:
            raise SettingsInvalid(f"An OTEL_* variable is wrong: {error}") from None
        self._provider.sampler = LinkSampler(self._provider.sampler)
        if self._queue:
            self._provider.add_span_processor(self._queue)
            self.observers = (TracingObserver(self._provider.get_tracer("app", version)),)

    def instrument(self, app: FastAPI) -> None:
        """Give each request to `app` a server span, probes left out, and its ids to the `RequestContext`."""
        if self._provider is None:
            return
        # Read once in a process, by the first that is instrumented: HTTP's stable names, not the old ones.
        os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http"
        FastAPIInstrumentor.instrument_app(
            app,
            tracer_provider=self._provider,
            meter_provider=NoOpMeterProvider(),
            server_request_hook=_identify,
            excluded_urls="|".join(rf"^\w+://[^/]*{re.escape(path)}$" for path in sorted(PROBES)),
            exclude_spans=["send", "receive"],
            http_capture_headers_sanitize_fields=[".*"],
        )

    async def close(self) -> None:
        """Send what still waits, or give it up when the time is over."""
        if self._provider is None or self._queue is None:
            return
        loop = asyncio.get_running_loop()
        sent = asyncio.Event()
        shutdown = self._provider.shutdown

        def flush() -> None:
            shutdown()
            with suppress(RuntimeError):  # the loop has ended by the time that a hanging collector gives up
                loop.call_soon_threadsafe(sent.set)

        # Not the loop's executor: the process would wait for its threads.
        Thread(target=flush, name="flush-spans", daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._flush_timeout):
                await sent.wait()
        if lost := self._queue.abandon():
            logger.warning("spans_lost", extra={"spans": lost, "timeout": self._flush_timeout})


class TracingObserver:
    """Turns the records of requests and batches into spans.

    Called in the context of the request's server span, as the core does, and after the request's batches.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        # As long as a record lives, some request may still have to link to its batch.
        self._batches: WeakKeyDictionary[BatchRecord, SpanContext] = WeakKeyDictionary()

    def http_finished(self, record: HttpRecord) -> None:
        """The instrumentation ends the server span."""

    def request_finished(self, record: RequestRecord) -> None:
        """Describe the inference on the server span, and make its stages' spans."""
        server = trace.get_current_span()
        if not server.is_recording():
            return
        server.set_attributes(_inference_attributes(record))
        since_boot = _epoch_ns()
        for name, start, end, error in _stages(record):
            links, attributes = self._run(record) if name == "compute" else ((), None)
            span = self._tracer.start_span(
                name, attributes=attributes, links=links, start_time=since_boot + int(start * 1e9)
            )
            if error:
                span.set_attribute(ERROR_TYPE, error)
                span.set_status(StatusCode.ERROR)
            span.end(since_boot + int(end * 1e9))

    def batch_finished(self, record: BatchRecord) -> None:
        """Make the batch's span, a trace of its own with links to those whose inputs it ran."""
        members: dict[int, SpanContext] = {}
        for member in record.members:
            context = member.context.run(trace.get_current_span).get_span_context()
            members[context.span_id] = context
        since_boot = _epoch_ns()
        span = self._tracer.start_span(
            "batch",
            Context(),
            attributes=_batch_attributes(record),
            links=[Link(context) for context in members.values()],
            start_time=since_boot + int(record.started * 1e9),
        )
        if record.failed_inputs:
            span.set_attribute("inference.batch.failed", record.failed_inputs)
            span.set_status(StatusCode.ERROR)
        span.end(since_boot + int(record.finished * 1e9))
        self._batches[record] = span.get_span_context()

    def _run(self, record: RequestRecord) -> tuple[Sequence[Link], Attributes]:
        """Links to the batches, and the first one's attributes: the others' are at the links' ends."""
        batches = [self._batches[batch] for batch in record.batches[:MAX_LINKS]]
        return [Link(context) for context in batches], {
            **_batch_attributes(record.batches[0]),
            "inference.batches": len(record.batches),
        }


class LinkSampler(Sampler):
    """Samples a root span with links if one of the linked spans is sampled; asks `others` about all else.

    So a sampled request's batch is there to be looked at, and no batch is that nobody links to.
    """

    def __init__(self, others: Sampler) -> None:
        self._others = others

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """See `Sampler`."""
        sampler = self._others
        if links and not trace.get_current_span(parent_context).get_span_context().is_valid:
            sampled = any(link.context.trace_flags.sampled for link in links)
            sampler = ALWAYS_ON if sampled else ALWAYS_OFF
        return sampler.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """See `Sampler`."""
        return f"LinkSampler{{{self._others.get_description()}}}"


def _resource(version: str) -> Resource:
    """Who we are, unless OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES know better."""
    given = OTELResourceDetector().detect().attributes
    return Resource.create({SERVICE_NAME: "vitrine", SERVICE_VERSION: version, **given})


def _identify(span: Span, scope: Scope) -> None:
    """Tell the server which trace the request is in."""
    context = span.get_span_context()
    request: RequestContext = scope["state"]["context"]
    request.trace_id = trace.format_trace_id(context.trace_id)
    request.span_id = trace.format_span_id(context.span_id)
    if scope["query_string"]:  # No route reads one, and people put keys there.
        span.set_attribute(URL_QUERY, "REDACTED")


def _epoch_ns() -> int:
    """What to add to an instant of `time.monotonic`, in ns. Taken anew each time: the wall clock gets set."""
    return time.time_ns() - time.monotonic_ns()


def _stages(record: RequestRecord) -> Iterator[tuple[str, float, float, str | None]]:
    """Name, start, end and error of each stage that was begun. The last one ends with the request."""
    stages = record.stages
    edges = (
        ("tokenize", stages.tokenize_started, stages.queued),
        ("queue", stages.queued, stages.compute_started),
        ("compute", stages.compute_started, stages.computed),
    )
    for name, start, end in edges:
        if start is None:
            return
        failed = end is None or (name == "compute" and any(batch.failed_inputs for batch in record.batches))
        yield name, start, record.finished if end is None else end, record.error if failed else None


def _inference_attributes(record: RequestRecord) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        "inference.request.id": record.request_id,
        "inference.model.name": record.model,
        "inference.task": record.task,
        "inference.outcome": record.outcome,
        "inference.inputs": record.inputs,
        "inference.tokens": record.tokens,
    }
    if record.error:
        attributes[ERROR_TYPE] = record.error
        attributes["inference.error"] = record.error
    if record.reason:
        attributes["inference.rejection.reason"] = record.reason
    if record.truncated_inputs:
        attributes["inference.truncated_inputs"] = record.truncated_inputs
    return attributes


def _batch_attributes(record: BatchRecord) -> dict[str, AttributeValue]:
    padded = record.tokens + record.padding_tokens
    return {
        "inference.model.name": record.model,
        "inference.batch.id": record.id,
        "inference.batch.size": record.inputs,
        "inference.batch.tokens": record.tokens,
        "inference.batch.padding_ratio": record.padding_tokens / max(1, padded),
        "inference.batch.release_reason": record.reason,
    }
