"""The real process ends in time, whatever the collector does."""

import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.live.conftest import Server
from tests.tracing.collector import Collector

pytestmark = pytest.mark.live


def test_a_hanging_collector_does_not_hold_up_the_end(collector: Collector, tmp_path: Path) -> None:
    collector.hangs.set()
    variables = {
        "APP_MODEL": "fake",
        "APP_TELEMETRY__FLUSH_TIMEOUT": "1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": collector.protocol,
        "OTEL_BSP_SCHEDULE_DELAY": "20",
    }
    server = Server([sys.executable, "-m", "tests.live.fake_server"], variables, tmp_path)
    try:
        url = server.wait_until_ready().url
        for _ in range(5):
            httpx.post(f"{url}/v1/embeddings", json={"model": "fake", "input": "text"}).raise_for_status()
        started = time.monotonic()
        server.terminate()
        assert server.wait() == 0
        assert time.monotonic() - started < 1 + 2
    finally:
        server.close()
    assert len(server.events("request")) == 5
    assert server.events("spans_lost")
    assert server.errors == []
