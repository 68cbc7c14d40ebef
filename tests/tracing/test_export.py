"""A collector that refuses, hangs, is slow or dies costs spans, which are counted, and nothing else."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from app.errors import SettingsInvalid
from app.telemetry.tracing import Tracing
from tests.fakes import RecordingObserver
from tests.running import Running, running, settings_for
from tests.tracing.collector import Collector, HttpCollector
from tests.tracing.conftest import Export, Log

pytestmark = pytest.mark.anyio

HASTE = {"BSP_SCHEDULE_DELAY": 20, "EXPORTER_OTLP_TIMEOUT": 1}
SPANS = 5
"""A request alone makes: its own, three stages, and its batch's."""


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(flush_timeout: float = 3) -> AsyncIterator[Running]:
    settings = settings_for(telemetry={"flush_timeout": flush_timeout})
    async with running(settings, observer=RecordingObserver()) as service:
        yield service


async def embed(service: Running, times: int) -> list[float]:
    """Seconds that each of so many requests took, one after another."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        assert (await service.embed("text")).status_code == 200
        seconds.append(time.perf_counter() - started)
    return seconds


async def test_what_arrives_is_counted(collector: Collector, export: Export) -> None:
    export(collector, **HASTE)
    async with serving() as service:
        counts = service.app.tracing.counts
        assert counts.last_success is None
        await embed(service, 10)
        await until(lambda: counts.exported == 10 * SPANS)
        assert counts.last_success == pytest.approx(time.time(), abs=5)
    assert len(collector.spans) == 10 * SPANS
    assert (counts.failed, counts.dropped) == (0, 0)


async def test_what_waits_at_the_end_is_sent(collector: Collector, export: Export) -> None:
    export(collector)
    async with serving() as service:
        await embed(service, 3)
        assert collector.spans == []
    assert len(collector.spans) == service.app.tracing.counts.exported == 3 * SPANS


async def test_a_refusing_collector_is_told_once_and_so_is_its_recovery(
    collector: Collector, export: Export, log: Log
) -> None:
    export(collector, **HASTE)
    collector.refuses = True
    async with serving() as service:
        counts = service.app.tracing.counts
        for _ in range(3):
            failed = counts.failed
            await embed(service, 2)
            await until(lambda failed=failed: counts.failed == failed + 2 * SPANS)  # type: ignore[misc]
        assert (counts.exported, counts.last_success) == (0, None)
        collector.refuses = False
        await embed(service, 1)
        await until(lambda: counts.exported == SPANS)
    assert log.events == ["span_export_failing", "span_export_recovered"]
    (reason,) = [line["reason"] for line in log.lines if line["event"] == "span_export_failing"]
    assert ("400" in reason) or ("not today" in reason)


async def test_a_collector_may_die_and_come_back(export: Export, http: HttpCollector, log: Log) -> None:
    with HttpCollector() as first:
        export(first, **HASTE)
        async with serving() as service:
            counts = service.app.tracing.counts
            await embed(service, 2)
            await until(lambda: counts.exported == 2 * SPANS)
            first.close()
            await embed(service, 2)
            await until(lambda: counts.failed == 2 * SPANS)
            with HttpCollector(first.port) as second:
                await embed(service, 2)
                await until(lambda: counts.exported == 4 * SPANS)
                assert len(second.spans) == 2 * SPANS
    assert log.events == ["span_export_failing", "span_export_recovered"]
    assert counts.dropped == 0


async def test_a_hanging_collector_costs_no_request_a_thing_but_its_spans(
    collector: Collector, http: HttpCollector, export: Export, log: Log
) -> None:
    room = 64
    export(http)
    async with serving() as healthy:
        export(collector, **HASTE, BSP_MAX_QUEUE_SIZE=room, BSP_MAX_EXPORT_BATCH_SIZE=32)
        collector.hangs.set()
        async with serving(flush_timeout=0.3) as hanging:
            usual, now = [], []
            for _ in range(20):
                usual += await embed(healthy, 5)
                now += await embed(hanging, 5)
                assert hanging.app.tracing._queue
                assert hanging.app.tracing._queue.waiting <= room
            counts = hanging.app.tracing.counts
            assert counts.dropped > 0
            leaving = time.monotonic()
        # Both ports close within 0.2 s. Then nothing is left but the spans.
        assert time.monotonic() - leaving < 0.3 + 1.5
        # What was under way when the time was over fails in the end.
        await until(lambda: counts.failed + counts.dropped == 100 * SPANS)
        assert counts.exported == 0
    print(f"median {statistics.median(usual) * 1e3:.2f} ms, hanging {statistics.median(now) * 1e3:.2f} ms")
    assert statistics.median(now) < 1.5 * statistics.median(usual) + 0.002
    (lost,) = [line for line in log.lines if line["event"] == "spans_lost"]
    assert 0 < lost["spans"] <= room


async def test_a_slow_collector_gets_all_that_there_is_room_for(collector: Collector, export: Export) -> None:
    export(collector, BSP_SCHEDULE_DELAY=20)
    collector.delay = 0.2
    async with serving() as service:
        await embed(service, 50)
    assert len(collector.spans) == service.app.tracing.counts.exported == 50 * SPANS


async def test_spans_that_end_after_the_service_are_dropped(http: HttpCollector, export: Export) -> None:
    export(http)
    async with serving() as service:
        pass
    queue, counts = service.app.tracing._queue, service.app.tracing.counts
    assert queue
    tracer = service.app.tracing._provider.get_tracer("late")  # type: ignore[union-attr]
    tracer.start_span("late").end()
    assert (counts.dropped, queue.waiting) == (1, 0)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),  # less than one batch
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "-1"),
    ],
)
async def test_a_wrong_variable_ends_the_start(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:1")
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsInvalid, match="OTEL_"):
        Tracing(version="1", flush_timeout=1)


async def test_without_an_endpoint_there_is_no_exporter(monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", " ")
    async with serving() as service:
        await embed(service, 2)
    assert service.app.tracing._queue is None
    assert log.events == []
