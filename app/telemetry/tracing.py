"""Tracing as the standard OTEL_* variables say: who makes spans, who we are in them, and where they go.

Nothing here is global, so that several services can live in one process.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import cast

from fastapi import FastAPI
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.environment_variables import OTEL_SDK_DISABLED
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.semconv.attributes.service_attributes import SERVICE_NAME, SERVICE_VERSION
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp

from app.errors import SettingsInvalid
from app.observer import Observer
from app.telemetry.asgi import ServerSpans
from app.telemetry.export import ExportCounts, ExportQueue
from app.telemetry.otlp import exporter_from_environment
from app.telemetry.server_spans import ServerTracerProvider
from app.telemetry.spans import TracingObserver

logger = logging.getLogger(__name__)


class Tracing:
    """The service's spans from their beginnings to the collector."""

    def __init__(self, *, version: str, flush_timeout: float) -> None:
        """`close` takes `flush_timeout` seconds at most. Raises `SettingsInvalid` if a variable is wrong."""
        self.counts = ExportCounts()
        self.observers: tuple[Observer, ...] = ()
        """To be told the facts; none if nobody would see the spans."""
        self._flush_timeout = flush_timeout
        self._provider: ServerTracerProvider | None = None
        self._queue: ExportQueue | None = None
        if os.environ.get(OTEL_SDK_DISABLED, "").strip().lower() == "true":
            return
        resource = _resource(version)
        try:
            exporter = exporter_from_environment()
            self._queue = ExportQueue(exporter, self.counts) if exporter else None
            self._provider = ServerTracerProvider(resource, self._queue)
        except ValueError as error:
            raise SettingsInvalid(f"An OTEL_* variable has a wrong value: {error}") from None
        if self._queue:
            self.observers = (TracingObserver(self._queue, resource, version),)

    def server_spans(self, app: ASGIApp, later: Callable[[Callable[[], None]], None]) -> ASGIApp:
        """`app` with a server span for each request, probes left out, whose ids the `RequestContext` gets.

        `later` calls what it is given after the observers have been told of the request.
        """
        if self._provider is None:
            return app
        # Read once in a process, by the first that is instrumented: HTTP's stable names, not the old ones.
        os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http"
        # It has a line for each value that is cut.
        logging.getLogger("opentelemetry.attributes").setLevel(logging.ERROR)
        # It instruments an application, and nothing else knows how its layer is set up. This one stays empty.
        empty = FastAPI()
        FastAPIInstrumentor.instrument_app(
            empty,
            tracer_provider=self._provider,
            meter_provider=NoOpMeterProvider(),
            http_capture_headers_sanitize_fields=[".*"],
        )
        outermost = cast(ServerErrorMiddleware, empty.build_middleware_stack())
        return ServerSpans(cast(OpenTelemetryMiddleware, outermost.app), app, later)

    async def close(self) -> None:
        """Send what still waits, or give it up when the time is over."""
        if self._queue is None:
            return
        loop = asyncio.get_running_loop()
        sent = asyncio.Event()
        flush_all = self._queue.flush

        def flush() -> None:
            flush_all()
            with suppress(RuntimeError):  # the loop has ended by the time that a hanging collector gives up
                loop.call_soon_threadsafe(sent.set)

        # Not the loop's executor: the process would wait for its threads.
        Thread(target=flush, name="flush-spans", daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._flush_timeout):
                await sent.wait()
        if lost := self._queue.abandon():
            logger.warning("spans_lost", extra={"spans": lost, "timeout": self._flush_timeout})


def _resource(version: str) -> Resource:
    """Who we are, unless OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES know better."""
    given = OTELResourceDetector().detect().attributes
    return Resource.create({SERVICE_NAME: "vitrine", SERVICE_VERSION: version, **given})
