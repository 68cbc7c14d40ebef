"""Spans made of records: a request's stages under its server span, and a trace of its own for each batch.

They are encoded at once, since what they tell of is over when we hear of it. The SDK's `start_span` and `end`
cost ten times as much: a sampler, locks and copies for what nobody changes any more.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple
from weakref import WeakKeyDictionary

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

from app.observer import BatchRecord, HttpRecord, RequestRecord
from app.telemetry.encoding import (
    EncodedSpan,
    Origin,
    SpanSink,
    encode_attributes,
    encode_head,
    encode_kin,
    encode_links,
    encode_span,
)

MAX_LINKS = 128
"""Batches that a request's compute span links to: the first ones. OpenTelemetry's own limit for links."""

SAMPLED = TraceFlags(TraceFlags.SAMPLED | TraceFlags.RANDOM_TRACE_ID)


_HEADS = {
    (name, failed): encode_head(name, SpanKind.INTERNAL, StatusCode.ERROR if failed else StatusCode.UNSET)
    for name in ("tokenize", "queue", "compute", "batch")
    for failed in (False, True)
}


class _Batch(NamedTuple):
    """What its requests' compute spans say of it, encoded."""

    link: bytes
    attributes: bytes


class TracingObserver:
    """Hands ended spans to a sink.

    Follows the server spans' sampling: an unsampled request has no stages, and a batch has a span if one of
    its members is sampled, so that no link of a member's leads nowhere. To be called as the core does: in the
    context of the server span, and of a batch before its requests.
    """

    def __init__(self, sink: SpanSink, resource: Resource, version: str) -> None:
        self._sink = sink
        self._origin = Origin(resource, InstrumentationScope("app", version))
        self._ids = RandomIdGenerator()
        # As long as a record lives, a request may still have to link to its batch.
        self._batches: WeakKeyDictionary[BatchRecord, _Batch] = WeakKeyDictionary()

    def http_finished(self, record: HttpRecord) -> None:
        """The instrumentation ends the server span."""

    def request_finished(self, record: RequestRecord) -> None:
        """Describe the inference on the server span, and make its stages' spans."""
        server = trace.get_current_span()
        parent = server.get_span_context()
        if not parent.trace_flags.sampled:
            return
        server.set_attributes(_inference_attributes(record))
        kin = encode_kin(parent, parent)
        epoch = _epoch()
        for name, start, end, error in _stages(record):
            attributes = encode_attributes({ERROR_TYPE: error}) if error else b""
            links = b""
            if name == "compute":
                batches = [self._batches[batch] for batch in record.batches[:MAX_LINKS]]
                attributes += batches[0].attributes
                links = b"".join([batch.link for batch in batches])
            message = encode_span(
                kin,
                self._ids.generate_span_id(),
                _HEADS[name, bool(error)],
                epoch + int(start * 1e9),
                epoch + int(end * 1e9),
                attributes,
                links,
            )
            self._sink.put(EncodedSpan(self._origin, message))

    def batch_finished(self, record: BatchRecord) -> None:
        """Make the batch's span, with links to the server spans of those whose inputs it ran."""
        members = [member.context.run(trace.get_current_span).get_span_context() for member in record.members]
        if not any(server.trace_flags.sampled for server in members):
            return
        context = SpanContext(self._ids.generate_trace_id(), self._ids.generate_span_id(), False, SAMPLED)
        attributes = encode_attributes(_batch_attributes(record))
        self._batches[record] = _Batch(encode_links([context]), attributes)
        if failed := record.failed_inputs:
            attributes += encode_attributes({"inference.batch.failed": failed})
        epoch = _epoch()
        message = encode_span(
            encode_kin(context, None),
            context.span_id,
            _HEADS["batch", failed > 0],
            epoch + int(record.started * 1e9),
            epoch + int(record.finished * 1e9),
            attributes,
            encode_links({server.span_id: server for server in members}.values()),
        )
        self._sink.put(EncodedSpan(self._origin, message))


def _epoch() -> int:
    """Unix time at the monotonic clock's zero, in nanoseconds. Asked anew, since the wall clock gets set."""
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
