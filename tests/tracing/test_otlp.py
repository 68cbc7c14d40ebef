"""Our encoder says what the library's does."""

from unittest.mock import Mock

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as encode_by_library
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.util.types import AnyValue

from app.telemetry import otlp
from tests.tracing.collector import Collector
from tests.tracing.conftest import Export


@pytest.fixture
def spans() -> list[ReadableSpan]:
    """All that can be in a span, twice: when an attribute comes again, its encoding is known."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(
        resource=Resource({"service.name": "test", "number": 1}),
        shutdown_on_exit=False,
        span_limits=SpanLimits(max_events=0, max_span_attributes=8),
    )
    provider.add_span_processor(SimpleSpanProcessor(memory))
    state = TraceState([("vendor", "1"), ("other", "2")])
    remote = SpanContext(7 << 64, 7, True, TraceFlags(1), state)
    attributes: dict[str, AnyValue] = {
        "text": "a é 🎈",
        "yes": True,
        "one": 1,
        "float": 1.0,
        "negative": -(2**63),
        "empty": "",
        "no": 0,
    }
    for name in ("one", "two"):
        tracer = provider.get_tracer(name, "1", schema_url="https://example.org/schema")
        for kind in (SpanKind.INTERNAL, SpanKind.SERVER):
            for parent in (None, remote):
                context = set_span_in_context(NonRecordingSpan(parent)) if parent else None
                links = [Link(remote), Link(SpanContext(1, 2, False))]
                span = tracer.start_span("näme", context, kind, attributes, links)
                child = tracer.start_span("child", set_span_in_context(span))
                child.set_status(Status(StatusCode.ERROR, "why"))
                child.end()
                like_one = True if kind is SpanKind.SERVER else 1.0
                span.set_attributes({"one": like_one, "later": 1, "too many": 1})
                span.record_exception(ValueError("dropped"))
                span.set_status(StatusCode.OK)
                span.end()
    return list(memory.get_finished_spans())


def test_it_says_what_the_librarys_says(spans: list[ReadableSpan]) -> None:
    assert len(spans) == 16
    assert otlp.encode_spans(spans) == encode_by_library(spans)


def test_the_exporters_use_it(
    collector: Collector, export: Export, spans: list[ReadableSpan], monkeypatch: pytest.MonkeyPatch
) -> None:
    export(collector)
    exporter = otlp.exporter_from_environment()
    assert exporter
    ours = Mock(wraps=otlp._encode)
    monkeypatch.setattr(otlp, "_encode", ours)
    exporter.export(spans)
    exporter.shutdown()
    assert ours.call_count == len(spans) - 2
    assert collector.requests == [encode_by_library(spans)]
