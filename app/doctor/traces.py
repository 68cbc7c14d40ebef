"""Traces: does the collector take spans, and does the service get rid of its own?"""

import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from app.doctor.scope import Collector, Scope
from app.doctor.service import NO_OPS, scrape, send_request
from app.doctor.walk import Broken, Ok, Result, Skipped
from app.doctor.web import TIMEOUT, NoAnswerError, fetch
from app.telemetry.exposition import Samples

TOLERATED = 0.05
"""The share of lost spans from which on TracesNotExported fires."""
RECENT = 60.0
"""Seconds since the last delivery in which earlier losses count as past."""
PATIENCE = 20.0
"""Seconds for the spans of a request: they are sent every 5, and given up after another 10."""
_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_UNREACHABLE = (
    "See that the collector runs and listens there: 4318 is for http/protobuf, 4317 for grpc "
    "(OTEL_EXPORTER_OTLP_PROTOCOL). Runbook TracesNotExported."
)


@dataclass(frozen=True, slots=True)
class Spans:
    """What has become of the service's spans since its start."""

    exported: float
    lost: float
    last_success: float | None
    """Unix time."""


def look_collector(scope: Scope) -> Result:
    """Deliver an empty batch of spans, as the service would deliver its own."""
    collector = scope.collector
    if collector is None:
        return Skipped("no collector is known here: OTEL_EXPORTER_OTLP_ENDPOINT or --otlp-endpoint names one")
    try:
        if collector.protocol == "grpc":
            _deliver_by_grpc(collector)
        else:
            _deliver_by_http(collector)
    except NoAnswerError as error:
        return Broken((str(error),), _UNREACHABLE)
    return Ok((f"{collector.endpoint} takes spans by {collector.protocol}",))


def look_traces(scope: Scope) -> Result:
    """Read the service's own counts; with --request, send one more and wait until they tell of its spans."""
    if scope.ops is None:
        return NO_OPS
    try:
        before = spans = _spans(scrape(scope.ops.url))
        give_up = time.monotonic() + PATIENCE
        if scope.request and scope.service:
            send_request(scope.service.url, scope.api_key)
            while spans == before and time.monotonic() < give_up:
                time.sleep(0.05)
                spans = _spans(scrape(scope.ops.url))
    except NoAnswerError as error:
        return Broken((str(error),), "See that the service stays reachable.")
    if spans.lost > before.lost:
        return _lost(spans)
    return judge(spans, time.time())


def judge(spans: Spans, now: float) -> Result:
    """What the counts mean."""
    if not spans.exported and not spans.lost:
        return Skipped(
            "the service has sent no span: OTEL_EXPORTER_OTLP_ENDPOINT is not set there, or no request came"
        )
    recent = spans.last_success is not None and now - spans.last_success < RECENT
    if spans.lost / (spans.exported + spans.lost) > TOLERATED and not recent:
        return _lost(spans)
    return Ok((f"{spans.exported:.0f} spans delivered, {spans.lost:.0f} lost",))


def _lost(spans: Spans) -> Broken:
    last = f"{time.time() - spans.last_success:.0f} s ago" if spans.last_success else "never"
    return Broken(
        (f"{spans.lost:.0f} spans are lost, {spans.exported:.0f} delivered, the last {last}",),
        "The line span_export_failing in the service's log says why. The endpoint is the collector's as the "
        "service sees it, not as you do. Runbook TracesNotExported.",
    )


def _spans(samples: Samples) -> Spans:
    counts = {labels.get("outcome"): value for labels, value in samples["telemetry_spans_total"]}
    last = samples.get("telemetry_span_export_last_success_timestamp_seconds")
    return Spans(counts["exported"], counts["failed"] + counts["dropped"], last[0][1] if last else None)


def _deliver_by_http(collector: Collector) -> None:
    # An empty ExportTraceServiceRequest has no bytes.
    reply = fetch(collector.endpoint, "", body=b"", headers={"content-type": "application/x-protobuf"})
    if reply.status != 200:
        raise NoAnswerError("foreign", str(reply))


def _deliver_by_grpc(collector: Collector) -> None:
    import grpc  # type: ignore[import-untyped]  # half of the doctor's start, for this protocol only

    parts = urlsplit(collector.endpoint)
    place = parts.netloc or parts.path
    credentials = grpc.ssl_channel_credentials() if parts.scheme == "https" else None
    channel: Any = grpc.secure_channel(place, credentials) if credentials else grpc.insecure_channel(place)
    with channel:
        try:
            channel.unary_unary(_EXPORT)(b"", timeout=TIMEOUT)
        except grpc.RpcError as error:
            raise NoAnswerError("foreign", f"{place} takes no spans by gRPC: {error.details()}") from None
