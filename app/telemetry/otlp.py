"""The exporter that the standard OTEL_* variables ask for, with an encoder of our own for OTLP.

The library's encoder costs more than making the spans: it makes a message for each of them, two for each of
their attributes, and hashes the resource with each, writing JSON for it. Here a span is written as the bytes
that protobuf writes for it (https://protobuf.dev/programming-guides/encoding/); attributes come again and
again, and are kept as encoded. A test compares the two.
"""

import os
from collections.abc import Sequence
from functools import lru_cache
from struct import Struct

from opentelemetry.environment_variables import OTEL_TRACES_EXPORTER
from opentelemetry.exporter.otlp.proto.common import trace_encoder
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, SpanFlags, Status
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_EXPORTER_OTLP_PROTOCOL,
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind, StatusCode

from app.errors import SettingsInvalid

LOCAL: int = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
REMOTE: int = LOCAL | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
"""Whether a span's parent, or the span that a link leads to, is another process's."""


# Fields of Span and its Link, by number and encoding; of identifiers by length, too.
TRACE_ID, SPAN_ID, PARENT_ID = b"\x0a\x10", b"\x12\x08", b"\x22\x08"
TRACE_STATE, LINKS = b"\x1a", b"\x6a"
START, END = b"\x39", b"\x41"
FLAGS, LINK_FLAGS = b"\x85\x01", b"\x35"
SPANS = b"\x12"
"""The field of ScopeSpans."""
_ids, _times, _flags, _link_flags = map(Struct, ("<2s16s2s8s", "<sQsQ", "<2sI", "<sI"))


def exporter_from_environment() -> SpanExporter | None:
    """What OTEL_TRACES_EXPORTER names: otlp (the default if an endpoint is set), console, or none.

    OTLP takes the OTEL_EXPORTER_OTLP_* variables. Raises `SettingsInvalid` or ValueError if one is wrong.
    """
    endpoint = _variable(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, OTEL_EXPORTER_OTLP_ENDPOINT)
    name = _variable(OTEL_TRACES_EXPORTER) or ("otlp" if endpoint else "none")
    match name:
        case "none":
            return None
        case "console":
            return ConsoleSpanExporter(formatter=lambda span: span.to_json(indent=None) + "\n")
        case "otlp":
            return _otlp_exporter()
    raise SettingsInvalid(f"OTEL_TRACES_EXPORTER={name!r}: there is no such exporter: otlp, console or none.")


def _otlp_exporter() -> SpanExporter:
    # Imported here, since each brings a client library of its own.
    protocol = _variable(OTEL_EXPORTER_OTLP_TRACES_PROTOCOL, OTEL_EXPORTER_OTLP_PROTOCOL) or "http/protobuf"
    if protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http import trace_exporter as http

        http.encode_spans = encode_spans  # type: ignore[attr-defined]
        return http.OTLPSpanExporter()
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc

        grpc.encode_spans = encode_spans  # type: ignore[attr-defined]
        return grpc.OTLPSpanExporter()
    raise SettingsInvalid(
        f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol!r}: there is no such protocol: http/protobuf or grpc."
    )


def _variable(*names: str) -> str | None:
    """The first that is set. An empty variable counts as none, says OpenTelemetry's specification."""
    return next((value for name in names if (value := os.environ.get(name, "").strip())), None)


def encode_spans(sdk_spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
    """The message that the library's function of that name makes of spans of one resource without events."""
    scopes: dict[InstrumentationScope | None, list[ReadableSpan]] = {}
    for span in sdk_spans:
        scopes.setdefault(span.instrumentation_scope, []).append(span)
    # One span of each scope goes the library's way, for the resource's and the scopes' sake.
    request = trace_encoder.encode_spans([of_scope[0] for of_scope in scopes.values()])
    for message, of_scope in zip(request.resource_spans[0].scope_spans, scopes.values(), strict=True):
        message.MergeFromString(b"".join([_message(SPANS, _encode(span)) for span in of_scope[1:]]))
    return request


def _encode(span: ReadableSpan) -> bytes:
    context, parent = span.get_span_context(), span.parent
    if context is None or span.start_time is None or span.end_time is None:
        raise ValueError("only ended spans can be encoded")
    parts = [
        _ids.pack(TRACE_ID, context.trace_id.to_bytes(16), SPAN_ID, context.span_id.to_bytes(8)),
        _times.pack(START, span.start_time, END, span.end_time),
        _flags.pack(FLAGS, REMOTE if parent and parent.is_remote else LOCAL),
        _name(span.name, span.kind),
        *[_attribute(key, value) for key, value in (span.attributes or {}).items()],
        _status(span.status.status_code, span.status.description),
    ]
    if parent:
        parts.append(PARENT_ID + parent.span_id.to_bytes(8))
    if context.trace_state:
        parts.append(_message(TRACE_STATE, context.trace_state.to_header().encode()))
    if span.dropped_attributes or span.dropped_events:
        dropped = Span(
            dropped_attributes_count=span.dropped_attributes, dropped_events_count=span.dropped_events
        )
        parts.append(bytes(dropped.SerializeToString()))
    for link in span.links:
        ids = _ids.pack(
            TRACE_ID, link.context.trace_id.to_bytes(16), SPAN_ID, link.context.span_id.to_bytes(8)
        )
        flags = _link_flags.pack(LINK_FLAGS, REMOTE if link.context.is_remote else LOCAL)
        parts.append(_message(LINKS, ids + flags))
    return b"".join(parts)


def _message(tag: bytes, content: bytes) -> bytes:
    """A field of variable length."""
    size = len(content)
    length = bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return tag + length + content


@lru_cache(256)
def _name(name: str, kind: SpanKind) -> bytes:
    """A span's message that has nothing but its name and kind."""
    # OTLP's kinds are the API's, but for a 0 that says nothing
    return bytes(Span(name=name, kind=kind.value + 1).SerializeToString())  # type: ignore[arg-type]


@lru_cache(1024, typed=True)
def _attribute(key: str, value: object) -> bytes:
    """A span's message that has nothing but this attribute."""
    match value:
        case bool():
            encoded = AnyValue(bool_value=value)
        case int():
            encoded = AnyValue(int_value=value)
        case float():
            encoded = AnyValue(double_value=value)
        case _:
            encoded = AnyValue(string_value=str(value))
    return bytes(Span(attributes=[KeyValue(key=key, value=encoded)]).SerializeToString())


@lru_cache(64)
def _status(code: StatusCode, description: str | None) -> bytes:
    """A span's message that has nothing but this status."""
    status = Status(code=code.value, message=description or "")  # type: ignore[arg-type]
    return bytes(Span(status=status).SerializeToString())
