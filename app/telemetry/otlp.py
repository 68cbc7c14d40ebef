"""The exporter that the standard OTEL_* variables ask for. It is given `EncodedSpan`s."""

import base64
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, cast

from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]  # protobuf ships no types
from opentelemetry.environment_variables import OTEL_TRACES_EXPORTER
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_EXPORTER_OTLP_PROTOCOL,
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from app.errors import SettingsInvalid
from app.telemetry.encoding import EncodedSpan, encode_request


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
            return ConsoleExporter()
        case "otlp":
            return _otlp_exporter()
    raise SettingsInvalid(f"OTEL_TRACES_EXPORTER={name!r}: there is no such exporter: otlp, console or none.")


def _otlp_exporter() -> SpanExporter:
    # Imported here, since each brings a client library of its own.
    protocol = _variable(OTEL_EXPORTER_OTLP_TRACES_PROTOCOL, OTEL_EXPORTER_OTLP_PROTOCOL) or "http/protobuf"
    if protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http import trace_exporter as http

        # The module's own name for the library's encoder, which takes other spans.
        http.encode_spans = _Encoded  # type: ignore[attr-defined, assignment]  # see above
        return http.OTLPSpanExporter()
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc

        grpc.encode_spans = _message  # type: ignore[attr-defined, assignment]  # as over HTTP
        return grpc.OTLPSpanExporter()
    raise SettingsInvalid(
        f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol!r}: there is no such protocol: http/protobuf or grpc."
    )


class _Encoded:
    """As much of a message as the exporter over HTTP looks at, so that no message needs to be made."""

    def __init__(self, spans: Sequence[EncodedSpan]) -> None:
        self._spans = spans

    def SerializePartialToString(self) -> bytes:  # noqa: N802 - protobuf's name
        return encode_request(self._spans)


def _message(spans: Sequence[EncodedSpan]) -> ExportTraceServiceRequest:
    message: ExportTraceServiceRequest = ExportTraceServiceRequest.FromString(encode_request(spans))
    return message


def _variable(*names: str) -> str | None:
    """The first that is set. An empty variable counts as none, says OpenTelemetry's specification."""
    return next((value for name in names if (value := os.environ.get(name, "").strip())), None)


class ConsoleExporter(SpanExporter):
    """Writes each span as a line of OTLP's JSON to stdout."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Called with `EncodedSpan`s."""
        for span in cast(Sequence[EncodedSpan], spans):
            sys.stdout.write(json.dumps(_to_json(span)) + "\n")
        sys.stdout.flush()
        return SpanExportResult.SUCCESS


def _to_json(span: EncodedSpan) -> dict[str, Any]:
    described: dict[str, Any] = MessageToDict(ScopeSpans.FromString(span.message).spans[0])
    for holder in (described, *described.get("links", ())):
        for key in holder.keys() & {"traceId", "spanId", "parentSpanId"}:
            # OTLP writes ids in hexadecimal, protobuf's JSON all bytes in base64.
            holder[key] = base64.b64decode(holder[key]).hex()
    return described
