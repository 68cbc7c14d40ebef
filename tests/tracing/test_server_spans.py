"""Our server spans are those that OpenTelemetry's own layer and SDK make of the same requests."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]  # protobuf ships no types
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode
from starlette.types import ASGIApp, Receive, Scope, Send

from app.context import RequestContext
from app.telemetry.encoding import LONGEST_VALUE, EncodedSpan
from app.telemetry.server_spans import ServerSpan, ServerTracerProvider
from app.telemetry.tracing import Tracing

pytestmark = pytest.mark.anyio

REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/items/7", {}),
    ("POST", "/items", {"json": {"a": 1}}),
    ("GET", "/items/7", {"params": {"key": "secret"}, "headers": {"user-agent": "curl/8 Googlebot"}}),
    ("GET", "/nowhere", {}),
    ("DELETE", "/items/7", {}),
    ("BREW", "/items/7", {}),
    ("GET", "/refused", {}),
    ("GET", "/broken", {}),
    ("GET", "/items/" + "x" * 2000, {"headers": {"x-captured": "1"}}),
    ("GET", "/items/7", {"headers": {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "v=1"}}),
    ("GET", "/items/7", {"headers": {"traceparent": f"00-{'a' * 32}-{'b' * 16}-00"}}),
    ("GET", "/items/7", {"headers": {"traceparent": "nonsense"}}),
    ("GET", "/livez", {}),
]


def application() -> FastAPI:
    app = FastAPI()

    @app.get("/items/{item}")
    async def item(item: str) -> str:
        return item

    @app.post("/items")
    async def items() -> str:
        return "made"

    @app.get("/refused")
    async def refused() -> str:
        raise HTTPException(418)

    @app.get("/broken")
    async def broken() -> str:
        raise RuntimeError("with somebody's text in it")

    @app.get("/livez")
    async def livez() -> str:
        return "ok"

    return app


class WithContext:
    """What HttpTelemetry does for the layers inside of it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["context"] = RequestContext("r", 0.0, 0.0)
        await self._app(scope, receive, send)


async def ask(app: ASGIApp) -> None:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://vitrine:8000") as client:
        for method, path, more in REQUESTS:
            await client.request(method, path, **more)


class Kept:
    """A sink."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def put(self, span: EncodedSpan) -> None:
        self.spans.append(ScopeSpans.FromString(span.message).spans[0])


def told(span: Span, *, ours: bool) -> dict[str, Any]:
    """All that a span says but for what is made up anew each time, and what we leave out on purpose."""
    described: dict[str, Any] = MessageToDict(span)
    for key in ("startTimeUnixNano", "endTimeUnixNano", "spanId", "events", "droppedEventsCount"):
        described.pop(key, None)
    described["status"].pop("message", None)
    if "parentSpanId" not in described:
        described.pop("traceId")
    attributes = described["attributes"] = {each["key"]: each["value"] for each in described["attributes"]}
    # The library takes the port for a part of the address.
    attributes["server.address"] = attributes["server.address"]["stringValue"].partition(":")[0]
    if not ours:
        attributes.pop("user_agent.synthetic.type", None)
        if "url.query" in attributes:
            attributes["url.query"] = {"stringValue": "REDACTED"}
    return described


@pytest.fixture
async def spans(monkeypatch: pytest.MonkeyPatch) -> tuple[list[Span], list[Span]]:
    """The library's, and ours."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST", "x-captured")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    theirs, ours = InMemorySpanExporter(), Kept()
    tracing = Tracing(version="1", flush_timeout=1)
    tracing._provider = ServerTracerProvider(Resource({}), ours)
    app = tracing.server_spans(application(), lambda tell: tell())
    stock = application()
    provider = TracerProvider(
        shutdown_on_exit=False, span_limits=SpanLimits(max_events=0, max_attribute_length=LONGEST_VALUE)
    )
    provider.add_span_processor(SimpleSpanProcessor(theirs))
    FastAPIInstrumentor.instrument_app(
        stock,
        tracer_provider=provider,
        excluded_urls="/livez",
        exclude_spans=["send", "receive"],
        http_capture_headers_sanitize_fields=[".*"],
    )
    await ask(WithContext(stock))
    await ask(WithContext(app))
    scopes = encode_spans(theirs.get_finished_spans()).resource_spans[0].scope_spans
    return [span for scope in scopes for span in scope.spans], ours.spans


async def test_they_say_what_the_librarys_say(spans: tuple[list[Span], list[Span]]) -> None:
    theirs, ours = (
        [told(span, ours=own) for span in side] for side, own in zip(spans, (False, True), strict=True)
    )
    assert len(ours) == len(REQUESTS) - 2  # but for the probe, and for the one that is not sampled
    for our, their in zip(ours, theirs, strict=True):
        assert our == their


async def test_they_cost_no_secret(spans: tuple[list[Span], list[Span]]) -> None:
    told_by_us = "".join(str(span) for span in spans[1])
    assert "secret" not in told_by_us
    assert "somebody's text" not in told_by_us


def test_a_span_ends_once_and_its_status_only_gets_worse() -> None:
    sink = Kept()
    tracer = ServerTracerProvider(Resource({}), sink).get_tracer("t")
    with tracer.start_as_current_span("work", kind=SpanKind.SERVER) as span:
        assert isinstance(span, ServerSpan)
        span.add_event("nothing")
        span.set_status(Status(StatusCode.ERROR, "with a text"))
        span.set_status(StatusCode.UNSET)
    span.end()
    (ended,) = sink.spans
    assert (ended.status.code, ended.status.message) == (StatusCode.ERROR.value, "")
    assert not span.is_recording()
