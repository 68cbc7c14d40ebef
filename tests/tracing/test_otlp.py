"""Our encoder says what the library's does."""

import json
from unittest.mock import Mock

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as encode_by_library
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from app.telemetry import otlp
from app.telemetry.encoding import (
    EncodedSpan,
    Origin,
    encode_attributes,
    encode_head,
    encode_kin,
    encode_links,
    encode_request,
    encode_span,
)
from tests.tracing.collector import Collector
from tests.tracing.conftest import Export

REMOTE = SpanContext(7 << 64, 7, True, TraceFlags(1), TraceState([("vendor", "1"), ("other", "2")]))


@pytest.fixture
def spans() -> list[ReadableSpan]:
    """The SDK's, of all that can be in a span but events, twice: an attribute that comes again is known."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(
        resource=Resource({"service.name": "test", "number": 1}),
        shutdown_on_exit=False,
        span_limits=SpanLimits(max_events=0),
    )
    provider.add_span_processor(SimpleSpanProcessor(memory))
    for name in ("one", "two"):
        tracer = provider.get_tracer(name, "1", schema_url="https://example.org/schema")
        for kind in (SpanKind.INTERNAL, SpanKind.SERVER):
            attributes: dict[str, AttributeValue] = {
                "text": "a é 🎈" * 99,
                "a list": ["a", "b"],
                "yes": True,
                "one": True if kind is SpanKind.SERVER else 1,
                "float": 1.0,
                "negative": -(2**63),
                "empty": "",
                "no": 0,
                "several": ("a", "b"),
                "numbers": (1, 2),
            }
            for parent in (None, REMOTE):
                context = set_span_in_context(NonRecordingSpan(parent)) if parent else None
                links = [Link(REMOTE), Link(SpanContext(1, 2, False))]
                span = tracer.start_span("näme", context, kind, attributes, links)
                child = tracer.start_span("child", set_span_in_context(span))
                child.set_status(StatusCode.ERROR)
                child.end()
                span.set_status(StatusCode.OK)
                span.end()
    return list(memory.get_finished_spans())


def encoded(spans: list[ReadableSpan]) -> list[EncodedSpan]:
    origins: dict[InstrumentationScope, Origin] = {}
    for span in spans:
        assert span.instrumentation_scope
        origin = Origin(span.resource, span.instrumentation_scope)
        origins.setdefault(span.instrumentation_scope, origin)
    return [
        EncodedSpan(
            origins[span.instrumentation_scope],  # type: ignore[index]  # never None: asserted above
            encode_span(
                encode_kin(span.context, span.parent),
                span.context.span_id,
                encode_head(span.name, span.kind, span.status.status_code),
                span.start_time or 0,
                span.end_time or 0,
                encode_attributes(span.attributes or {}),
                encode_links([link.context for link in span.links]),
            ),
        )
        for span in spans
    ]


def test_it_says_what_the_librarys_says(spans: list[ReadableSpan]) -> None:
    assert len(spans) == 16
    ours = ExportTraceServiceRequest.FromString(encode_request(encoded(spans)))
    assert ours == encode_by_library(spans)


def test_half_a_surrogate_pair_does_not_cost_the_span(spans: list[ReadableSpan]) -> None:
    span = encoded(spans)[0]
    span.message = encode_span(b"", 1, b"", 1, 2, encode_attributes({"text": "a\ud800b"}))
    message = ExportTraceServiceRequest.FromString(encode_request([span]))
    (attribute,) = message.resource_spans[0].scope_spans[0].spans[0].attributes
    assert attribute.value.string_value == "a?b"


def test_what_has_no_value_is_left_out() -> None:
    assert encode_attributes({"server.port": None, "one": 1}) == encode_attributes({"one": 1})


def test_the_exporters_use_it(
    collector: Collector, export: Export, spans: list[ReadableSpan], monkeypatch: pytest.MonkeyPatch
) -> None:
    export(collector)
    exporter = otlp.exporter_from_environment()
    assert exporter
    ours = Mock(wraps=encode_request)
    monkeypatch.setattr(otlp, "encode_request", ours)
    exporter.export(encoded(spans))  # type: ignore[arg-type]  # what ours are given
    exporter.shutdown()
    assert ours.call_count == 1
    assert collector.requests == [encode_by_library(spans)]


def test_the_console_gets_a_line_of_json_for_each(
    spans: list[ReadableSpan], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    exporter = otlp.exporter_from_environment()
    assert exporter
    exporter.export(encoded(spans))  # type: ignore[arg-type]  # what ours are given
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["spanId"] for line in lines] == [f"{span.context.span_id:016x}" for span in spans]
    with_links = [line for line in lines if "links" in line]
    assert with_links[0]["links"][0]["traceId"] == f"{7 << 64:032x}"
    assert with_links[0]["attributes"][0] == {"key": "text", "value": {"stringValue": "a é 🎈" * 99}}
