"""Spans as OTLP's bytes, from their end on.

The library's encoder costs more than making the spans: it makes a message for each of them, two for each of
their attributes, and hashes the resource with each, writing JSON for it. Here a span is written once, as the
bytes that protobuf writes for it (https://protobuf.dev/programming-guides/encoding/). Attributes come again
and again, and are kept as encoded. A test compares the two.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import ClassVar, Protocol

from opentelemetry.exporter.otlp.proto.common import trace_encoder
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, SpanFlags, Status
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

# Fields by number and encoding; those of identifiers by length, too.
RESOURCE_SPANS, SCOPE_SPANS, SPANS = b"\x0a", b"\x12", b"\x12"
TRACE_ID, SPAN_ID, PARENT_ID = b"\x0a\x10", b"\x12\x08", b"\x22\x08"
TRACE_STATE, ATTRIBUTES, LINKS = b"\x1a", b"\x4a", b"\x6a"
START, END = b"\x39", b"\x41"
FLAGS, LINK_FLAGS = b"\x85\x01", b"\x35"
KEY, VALUE, STRING = b"\x0a", b"\x12", b"\x0a"
_own, _link = Struct("<2s8ssQsQ"), Struct("<sB2s16s2s8ss4s")

LOCAL = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK.to_bytes(4, "little")
REMOTE = (
    SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
).to_bytes(4, "little")
"""Whether a span's parent, or the span that a link leads to, is another process's."""

LONGEST_VALUE = 512
"""Characters of an attribute's value: a path can be as long as the edge lets a request's head be."""


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """Where spans come from: the service, and the part of it that made them. Equal to itself alone."""

    resource: Resource
    scope: InstrumentationScope


@dataclass(slots=True, eq=False)
class EncodedSpan:
    """A span that has ended and is to be sent."""

    origin: Origin
    message: bytes
    """Its field of ScopeSpans."""

    context: ClassVar[SpanContext] = SpanContext(
        1, 1, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)
    )
    """For the library's processor, which asks each span whether it is sampled: what comes here is."""


class SpanSink(Protocol):
    """Where ended spans go."""

    def put(self, span: EncodedSpan) -> None:
        """Take it, or count it as dropped."""
        ...


def encode_span(
    kin: bytes, span_id: int, head: bytes, start: int, end: int, attributes: bytes = b"", links: bytes = b""
) -> bytes:
    """The field of ScopeSpans for a span without events, of parts that the functions below have encoded.

    `start` and `end` are nanoseconds of Unix time.
    """
    own = _own.pack(SPAN_ID, span_id.to_bytes(8), START, start, END, end)
    return _message(SPANS, kin + own + head + attributes + links)


def encode_kin(context: SpanContext, parent: SpanContext | None) -> bytes:
    """What spans of a trace with the same parent have in common; `context` is one of theirs."""
    kin = TRACE_ID + context.trace_id.to_bytes(16)
    if state := context.trace_state:
        kin += _message(TRACE_STATE, state.to_header().encode())
    if parent is None:
        return kin + FLAGS + LOCAL
    return kin + PARENT_ID + parent.span_id.to_bytes(8) + FLAGS + (REMOTE if parent.is_remote else LOCAL)


@lru_cache(256)
def encode_head(name: str, kind: SpanKind, status: StatusCode) -> bytes:
    """What spans say that differ in their ids, times and attributes only."""
    # OTLP's kinds are the API's, but for a 0 that says nothing
    span = Span(name=name, kind=kind.value + 1, status=Status(code=status.value))  # type: ignore[arg-type]  # stubs want the enum's own values
    return bytes(span.SerializeToString())


def encode_attributes(attributes: Mapping[str, AttributeValue]) -> bytes:
    """Those of one span; longer values are cut."""
    return b"".join(
        [
            _attribute(key, value)
            if type(value) is int or (type(value) is str and len(value) <= LONGEST_VALUE)
            else _attribute(key, _bounded(value))
            for key, value in attributes.items()
            if value is not None  # such as the port of a Unix socket
        ]
    )


def encode_links(contexts: Iterable[SpanContext]) -> bytes:
    """Links to these spans, without attributes."""
    return b"".join(
        [
            _link.pack(
                LINKS,
                _link.size - len(LINKS) - 1,
                TRACE_ID,
                context.trace_id.to_bytes(16),
                SPAN_ID,
                context.span_id.to_bytes(8),
                LINK_FLAGS,
                REMOTE if context.is_remote else LOCAL,
            )
            for context in contexts
        ]
    )


def encode_request(spans: Sequence[EncodedSpan]) -> bytes:
    """An ExportTraceServiceRequest of spans that all have the same resource."""
    by_origin: dict[Origin, list[bytes]] = {}
    for span in spans:
        by_origin.setdefault(span.origin, []).append(span.message)
    resource = _resource(next(iter(by_origin)))
    scopes = [_message(SCOPE_SPANS, _scope(origin) + b"".join(own)) for origin, own in by_origin.items()]
    return _message(RESOURCE_SPANS, resource + b"".join(scopes))


@lru_cache(64)
def _resource(origin: Origin) -> bytes:
    """The library's ResourceSpans without any scope's."""
    resource_spans = _by_library(origin)
    del resource_spans.scope_spans[:]
    return bytes(resource_spans.SerializeToString())


@lru_cache(64)
def _scope(origin: Origin) -> bytes:
    """The library's ScopeSpans without any span."""
    scope_spans = _by_library(origin).scope_spans[0]
    del scope_spans.spans[:]
    return bytes(scope_spans.SerializeToString())


def _by_library(origin: Origin) -> ResourceSpans:
    span = ReadableSpan(
        "",
        EncodedSpan.context,
        resource=origin.resource,
        instrumentation_scope=origin.scope,
        start_time=0,
        end_time=0,
    )
    resource_spans: ResourceSpans = trace_encoder.encode_spans([span]).resource_spans[0]
    return resource_spans


def _message(tag: bytes, content: bytes) -> bytes:
    """A field of variable length."""
    return tag + _varint(len(content)) + content


@lru_cache(4096)
def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


@lru_cache(1024, typed=True)
def _attribute(key: str, value: AttributeValue) -> bytes:
    """A span's message that has nothing but this attribute."""
    if isinstance(value, str):
        encoded = _message(STRING, value.encode(errors="replace"))
    else:
        encoded = bytes(_any_value(value).SerializeToString())
    return _message(ATTRIBUTES, _message(KEY, key.encode()) + _message(VALUE, encoded))


def _bounded(value: AttributeValue) -> AttributeValue:
    """Cut, and fit to be a key."""
    if isinstance(value, str):
        return value[:LONGEST_VALUE]
    if isinstance(value, Sequence):
        return tuple(value)
    return value


def _any_value(value: AttributeValue) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=value)
        case Sequence():
            return AnyValue(array_value=ArrayValue(values=[_any_value(item) for item in value]))
    raise TypeError(f"an attribute cannot be a {type(value).__name__}")
