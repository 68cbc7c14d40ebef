"""Spans made of records: a request's stages under its server span, and a trace of its own for each batch.

They are built whole, since what they tell of is over when we hear of it. The SDK's `start_span` and `end`
cost ten times as much: a sampler, locks and copies for what nobody changes any more.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from weakref import WeakKeyDictionary

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

from app.observer import BatchRecord, HttpRecord, RequestRecord

MAX_LINKS = 128
"""Batches that a request's compute span links to: the first ones. OpenTelemetry's own limit for links."""

SAMPLED = TraceFlags(TraceFlags.SAMPLED | TraceFlags.RANDOM_TRACE_ID)


class TracingObserver:
    """Hands ended spans to a processor.

    Follows the server spans' sampling: an unsampled request has no stages, and a batch has a span if one of
    its members is sampled, so that no link of a member's leads nowhere. To be called as the core does: in the
    context of the server span, and of a batch before its requests.
    """

    def __init__(self, processor: SpanProcessor, resource: Resource, version: str) -> None:
        self._processor = processor
        self._resource = resource
        self._scope = InstrumentationScope("app", version)
        self._ids = RandomIdGenerator()
        # As long as a record lives, a request may still have to link to its batch.
        self._batches: WeakKeyDictionary[BatchRecord, SpanContext] = WeakKeyDictionary()

    def http_finished(self, record: HttpRecord) -> None:
        """The instrumentation ends the server span."""

    def request_finished(self, record: RequestRecord) -> None:
        """Describe the inference on the server span, and make its stages' spans."""
        server = trace.get_current_span()
        if not server.is_recording():
            return
        server.set_attributes(_inference_attributes(record))
        parent = server.get_span_context()
        for name, start, end, error in _stages(record):
            attributes = _batch_attributes(record.batches[0]) if name == "compute" else {}
            if error:
                attributes[ERROR_TYPE] = error
            context = SpanContext(
                parent.trace_id, self._ids.generate_span_id(), False, parent.trace_flags, parent.trace_state
            )
            links = self._batch_links(record) if name == "compute" else ()
            self._end(name, context, start, end, attributes, links, parent=parent, failed=bool(error))

    def batch_finished(self, record: BatchRecord) -> None:
        """Make the batch's span, with links to the server spans of those whose inputs it ran."""
        members = [member.context.run(trace.get_current_span).get_span_context() for member in record.members]
        if not any(server.trace_flags.sampled for server in members):
            return
        servers = {server.span_id: server for server in members}
        context = SpanContext(self._ids.generate_trace_id(), self._ids.generate_span_id(), False, SAMPLED)
        self._batches[record] = context
        attributes = _batch_attributes(record)
        if record.failed_inputs:
            attributes["inference.batch.failed"] = record.failed_inputs
        links = [Link(server) for server in servers.values()]
        failed = record.failed_inputs > 0
        self._end("batch", context, record.started, record.finished, attributes, links, failed=failed)

    def _batch_links(self, record: RequestRecord) -> Sequence[Link]:
        return [Link(self._batches[batch]) for batch in record.batches[:MAX_LINKS]]

    def _end(
        self,
        name: str,
        context: SpanContext,
        start: float,
        end: float,
        attributes: Mapping[str, AttributeValue],
        links: Sequence[Link],
        *,
        failed: bool,
        parent: SpanContext | None = None,
    ) -> None:
        # Taken anew each time, since the wall clock gets set.
        since_epoch = time.time_ns() - time.monotonic_ns()
        span = ReadableSpan(
            name,
            context,
            parent,
            self._resource,
            attributes,
            links=links,
            status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
            start_time=since_epoch + int(start * 1e9),
            end_time=since_epoch + int(end * 1e9),
            instrumentation_scope=self._scope,
        )
        self._processor.on_end(span)


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
        # For the 5xx the instrumentation puts the status in error.type's place.
        attributes[ERROR_TYPE] = attributes["inference.error"] = record.error
    if record.reason:
        attributes["inference.rejection.reason"] = record.reason
    if record.truncated_inputs:
        attributes["inference.truncated_inputs"] = record.truncated_inputs
    return attributes


def _batch_attributes(record: BatchRecord) -> dict[str, AttributeValue]:
    padded = record.tokens + record.padding_tokens
    return {
        "inference.batch.id": record.id,
        "inference.batch.size": record.inputs,
        "inference.batch.tokens": record.tokens,
        "inference.batch.padding_ratio": record.padding_tokens / max(1, padded),
        "inference.batch.release_reason": record.reason,
        "inference.model.name": record.model,
    }
