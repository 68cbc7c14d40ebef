"""The gauges that are asked for when a scrape comes."""

import asyncio
import time
from collections.abc import Callable

import httpx
import pytest

from app import __version__
from app.costs import CostModel
from app.errors import DeviceLost
from app.health import Phase
from app.main import create_app
from app.server import running as listening
from tests.fakes import FakeRunner
from tests.metrics.runners import LoadingRunner
from tests.metrics.scraping import scrape
from tests.running import running, settings_for

pytestmark = pytest.mark.anyio


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


def a_millisecond_each() -> CostModel:
    """What batches of tokens that take a millisecond each would have taught."""
    costs = CostModel()
    for tokens in (10, 20, 40):
        costs.observe(tokens, tokens / 1000)
    return costs


async def test_work_in_the_server_shows_while_it_is_there() -> None:
    runner = FakeRunner()
    async with running(settings_for(batching={"max_inputs": 2}), runner=runner) as service:
        batcher = service.app.batcher
        batcher.costs = a_millisecond_each()
        runner.hold.clear()
        requests = [asyncio.create_task(service.embed("one two three", "four five six")) for _ in range(3)]
        await until(lambda: batcher.snapshot().queued_inputs == 4)
        held = await scrape(service.ops_url)
        runner.hold.set()
        await asyncio.gather(*requests)
        done = await scrape(service.ops_url)
    assert held.value("inference_executing_inputs") == 2
    assert held.value("inference_queued_inputs") == 4
    assert held.value("inference_queued_tokens") == 12
    assert held.value("http_server_active_requests") == 3
    # 18 tokens of a millisecond each, against an allowed wait of 0.2 s
    assert held.value("inference_saturation_ratio") == pytest.approx(0.09)
    for name in (
        "inference_executing_inputs",
        "inference_queued_inputs",
        "inference_queued_tokens",
        "inference_saturation_ratio",
        "http_server_active_requests",
    ):
        assert done.value(name) == 0, name


async def test_saturation_is_measured_by_the_wait_that_is_set_and_may_pass_1() -> None:
    runner = FakeRunner()
    async with running(settings_for(admission={"slo_wait": 0.002}), runner=runner) as service:
        service.app.batcher.costs = a_millisecond_each()
        runner.hold.clear()
        request = asyncio.create_task(service.embed("one two three four"))
        await until(lambda: service.app.batcher.snapshot().executing_inputs)
        held = await scrape(service.ops_url)
        runner.hold.set()
        await request
    assert held.value("inference_saturation_ratio") == pytest.approx(2)


async def test_probes_are_no_requests() -> None:
    async with running() as service:
        for path in ("/readyz", "/livez", "/startupz", "/health", "/v2/health/live", "/v2/health/ready"):
            assert (await service.client.get(path)).status_code == 200
        await service.client.get("/info")
        seen = await scrape(service.ops_url)
    assert seen.by("http_route", "http_server_request_duration_seconds_count") == {"/info": 1}


async def test_a_worker_that_is_free_or_has_just_begun_is_alive_and_one_that_hangs_is_not() -> None:
    runner = FakeRunner()
    async with running(runner=runner) as service:
        await asyncio.sleep(0.5)
        idle_at = time.time()
        idle = await scrape(service.ops_url)
        runner.hold.clear()
        began_at = time.time()
        request = asyncio.create_task(service.embed("one"))
        await until(lambda: service.app.batcher.snapshot().executing_inputs)
        began = await scrape(service.ops_url)
        await asyncio.sleep(0.5)
        hanging = await scrape(service.ops_url)
        runner.hold.set()
        await request
    name = "inference_worker_heartbeat_timestamp_seconds"
    assert idle.value(name) >= idle_at - 0.01
    assert began.value(name) >= began_at - 0.01
    assert hanging.value(name) == pytest.approx(began.value(name), abs=0.01)


async def test_a_model_that_loads_is_not_ready_and_nothing_is_known_of_it() -> None:
    runner = LoadingRunner()
    async with listening(create_app(settings_for(), runner=runner)) as service:
        loading = await scrape(service.ops_url)
        await asyncio.sleep(0.2)
        runner.loaded.set()
        await service.ready.wait()
        loaded = await scrape(service.ops_url)
    assert loading.value("inference_model_ready", model_name="fake") == 0
    assert loading.value("inference_saturation_ratio") == 0
    assert not loading.find("inference_model_info")
    assert not loading.find("inference_model_load_duration_seconds")
    assert loaded.value("inference_model_ready", model_name="fake") == 1
    assert 0.2 <= loaded.value("inference_model_load_duration_seconds", model_name="fake") < 5
    (info,) = loaded.find("inference_model_info")
    assert info.labels == {
        "model_name": "fake",
        "task": "embeddings",
        "architecture": "FakeModel",
        "dtype": "float32",
        "device": "cpu",
        "layout": "padded",
        "revision": "",
        "version": __version__,
    }


async def test_a_model_that_is_lost_or_drains_is_not_ready() -> None:
    runner = FakeRunner()
    async with running(runner=runner) as service:
        service.app.health.move(Phase.DRAINING, "the server is draining")
        assert (await scrape(service.ops_url)).value("inference_model_ready") == 0
        service.app.health.move(Phase.SERVING, "the model answers")
        assert (await scrape(service.ops_url)).value("inference_model_ready") == 1
        runner.dies_of = DeviceLost("the device is gone")
        await service.embed("one")
        assert (await scrape(service.ops_url)).value("inference_model_ready") == 0


async def test_a_model_that_never_loaded_does_not_break_the_scrape() -> None:
    runner = LoadingRunner()
    runner.load_error = OSError("the disk is gone")
    runner.load = lambda: FakeRunner.load(runner)  # type: ignore[method-assign]
    async with listening(create_app(settings_for(), runner=runner)) as service:
        await asyncio.wait({service.model})
        seen = await scrape(service.ops_url)
        assert isinstance(service.model.exception(), OSError)
    assert seen.value("inference_model_ready") == 0
    assert not seen.find("inference_model_info")


async def test_spans_are_counted_by_what_became_of_them() -> None:
    async with running() as service:
        counts = service.app.tracing.counts
        assert not (await scrape(service.ops_url)).find(
            "telemetry_span_export_last_success_timestamp_seconds"
        )
        counts.exported, counts.failed, counts.dropped, counts.last_success = 5, 2, 1, 1_700_000_000.5
        seen = await scrape(service.ops_url)
    assert seen.by("outcome", "telemetry_spans_total") == {"exported": 5, "failed": 2, "dropped": 1}
    assert seen.value("telemetry_span_export_last_success_timestamp_seconds") == 1_700_000_000.5


async def test_two_services_in_one_process_count_apart() -> None:
    async with running() as one, running(settings_for(model_name="other")) as other:
        await one.embed("a")
        await one.embed("b")
        await other.embed("c")
        first, second = await scrape(one.ops_url), await scrape(other.ops_url)
    assert first.value("inference_requests_total", model_name="fake", task="embeddings", outcome="ok") == 2
    assert second.value("inference_requests_total", model_name="other", task="embeddings", outcome="ok") == 1
    assert not second.find("inference_requests_total", model_name="fake")


async def test_metrics_are_on_the_operations_port_only() -> None:
    async with running() as service:
        assert (await service.client.get("/metrics")).status_code == 404
        async with httpx.AsyncClient(base_url=service.ops_url) as client:
            assert (await client.post("/metrics")).is_client_error
