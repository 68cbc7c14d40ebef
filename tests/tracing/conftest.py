import json
import logging
import os
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
import structlog

from app.telemetry.logs import configure_logs
from tests.tracing.collector import Collector, GrpcCollector, HttpCollector

Export = Callable[..., None]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tester's shell has set is none of the tests' business."""
    for name in os.environ:
        if name.startswith("OTEL_") and name != "OTEL_SEMCONV_STABILITY_OPT_IN":
            monkeypatch.delenv(name)


@pytest.fixture
def http() -> Iterator[HttpCollector]:
    with HttpCollector() as collector:
        yield collector


@pytest.fixture(params=[HttpCollector, GrpcCollector], ids=["http", "grpc"])
def collector(request: pytest.FixtureRequest) -> Iterator[Collector]:
    with request.param() as collector:
        yield collector


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch) -> Export:
    """Services made after this send their spans to the collector; keywords are further OTEL_ variables."""

    def set_variables(collector: Collector, **variables: object) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", collector.protocol)
        for name, value in variables.items():
            monkeypatch.setenv(f"OTEL_{name}", str(value))

    return set_variables


class Log:
    """What the service writes, as it does in production."""

    def __init__(self) -> None:
        self._stream = StringIO()
        configure_logs("info", "json", self._stream)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._stream.getvalue().splitlines()]

    @property
    def events(self) -> list[str]:
        """Those that come of exporting, by whoever writes them."""
        loggers = ("app.telemetry.export", "app.telemetry.tracing", "opentelemetry.")
        return [line["event"] for line in self.lines if line.get("logger", "").startswith(loggers)]


@pytest.fixture
def log() -> Iterator[Log]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield Log()
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    root.handlers[:], root.level = before
