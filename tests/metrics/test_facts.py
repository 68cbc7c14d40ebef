"""What counters and histograms say after requests of each kind, read as Prometheus reads them."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from app.errors import DeviceLost
from app.main import create_app
from app.server import running as listening
from app.telemetry.metrics import REJECTIONS
from tests.fakes import FAIL, FakeRunner
from tests.metrics.runners import LoadingRunner
from tests.metrics.scraping import Scrape, scrape
from tests.running import Running, running, settings_for

pytestmark = pytest.mark.anyio

STAGES = ("tokenize", "queue", "compute", "respond")


def outcomes(seen: Scrape) -> dict[str, float]:
    return seen.by("outcome", "inference_requests_total", task="embeddings")


async def test_what_may_happen_is_there_at_zero_from_the_start() -> None:
    async with running() as service:
        seen = await scrape(service.ops_url)
    for name, label, values in (
        ("inference_requests_total", "outcome", "ok invalid rejected expired cancelled failed"),
        ("inference_rejections_total", "reason", " ".join(REJECTIONS)),
        ("inference_batch_releases_total", "reason", "drained max_inputs max_tokens lengths"),
        ("inference_tokens_total", "kind", "real padding"),
        ("inference_stage_duration_seconds_count", "stage", " ".join(STAGES)),
        ("inference_request_duration_seconds_count", "task", "embeddings rerank"),
        ("inference_truncated_inputs_total", "model_name", "fake"),
        ("inference_batch_size_count", "model_name", "fake"),
        ("telemetry_spans_total", "outcome", "exported failed dropped"),
    ):
        for value in values.split():
            assert {sample.value for sample in seen.find(name, **{label: value})} == {0}, (name, value)


async def test_an_answered_request_is_counted_and_measured_in_each_stage() -> None:
    async with running(runner=FakeRunner(start=0.03)) as service:
        assert (await service.embed("one two three", "four")).status_code == 200
        seen = await scrape(service.ops_url)
    assert outcomes(seen) == {"ok": 1}
    whole = seen.value("inference_request_duration_seconds_sum", task="embeddings")
    stages = seen.by("stage", "inference_stage_duration_seconds_sum")
    assert seen.by("stage", "inference_stage_duration_seconds_count") == dict.fromkeys(STAGES, 1)
    assert seen.value("inference_request_duration_seconds_count", task="embeddings") == 1
    assert 0.03 <= stages["compute"] < whole
    assert sum(stages.values()) <= whole
    assert seen.value("inference_request_duration_seconds_bucket", task="embeddings", le="0.025") == 0
    assert seen.value("inference_request_duration_seconds_bucket", task="embeddings", le="+Inf") == 1
    exchange = {
        "http_request_method": "POST",
        "http_route": "/v1/embeddings",
        "http_response_status_code": "200",
    }
    assert seen.value("http_server_request_duration_seconds_count", **exchange) == 1
    assert seen.value("http_server_request_duration_seconds_sum", **exchange) > whole


async def test_a_batch_tells_its_size_its_tokens_and_its_padding() -> None:
    async with running(settings_for(batching={"max_padding": 9})) as service:
        await service.embed("one two three", "four")
        seen = await scrape(service.ops_url)
    assert seen.by("kind", "inference_tokens_total") == {"real": 4, "padding": 2}
    assert seen.value("inference_batch_size_sum") == 2
    assert seen.value("inference_batch_size_bucket", le="1.0") == 0
    assert seen.value("inference_batch_size_bucket", le="2.0") == 1
    assert seen.value("inference_batch_duration_seconds_count") == 1
    assert seen.value("inference_batch_duration_seconds_sum") == pytest.approx(
        seen.value("inference_stage_duration_seconds_sum", stage="compute")
    )


@pytest.mark.parametrize(
    ("reason", "settings", "lengths"),
    [
        ("drained", {}, [1, 1]),
        ("max_inputs", {"batching": {"max_inputs": 2}}, [1, 1, 1]),
        ("max_tokens", {"max_batch_tokens": 8}, [4, 4, 4]),
        # The model of costs learns what starting a batch is worth; a fake's start is worth few tokens.
        ("lengths", {"batching": {"max_padding": 0}}, [1, 200]),
    ],
)
async def test_a_batch_tells_why_it_was_let_go(
    reason: str, settings: dict[str, Any], lengths: list[int]
) -> None:
    runner = FakeRunner(per_token=0.0005)
    async with running(settings_for(**settings), runner=runner) as service:
        await service.embed(*(" ".join(["word"] * length) for length in lengths))
        seen = await scrape(service.ops_url)
    released = seen.by("reason", "inference_batch_releases_total")
    assert released.keys() == {reason, "drained"}


async def test_canaries_are_nobodys_requests() -> None:
    runner = FakeRunner()
    async with running(settings_for(canary_interval=0.02), runner=runner) as service:
        ran = len(runner.batches)
        async with asyncio.timeout(5):
            while len(runner.batches) < ran + 3:
                await asyncio.sleep(0.01)
        seen = await scrape(service.ops_url)
    assert seen.value("inference_batch_size_count") == 0
    assert seen.by("kind", "inference_tokens_total") == {}


async def test_truncated_inputs_are_counted() -> None:
    async with running() as service:
        await service.embed("word " * 300, "short", "word " * 400)
        seen = await scrape(service.ops_url)
    assert seen.value("inference_truncated_inputs_total") == 2


async def invalid(service: Running) -> None:
    assert (await service.client.post("/v1/embeddings", json={"model": "fake", "input": []})).is_client_error
    assert (
        await service.client.post("/v1/embeddings", json={"model": "other", "input": "a"})
    ).is_client_error


async def failed(service: Running) -> None:
    assert (await service.embed(FAIL)).status_code == 500


async def expired(service: Running) -> None:
    fake(service).hold.clear()
    assert (await service.embed("late", x_request_timeout_ms="60")).status_code == 504
    fake(service).hold.set()


async def cancelled(service: Running) -> None:
    fake(service).hold.clear()
    with pytest.raises(httpx.ReadTimeout):
        await service.client.post(
            "/v1/embeddings", json={"model": "fake", "input": "gone"}, timeout=httpx.Timeout(5, read=0.1)
        )
    async with asyncio.timeout(5):
        while not outcomes(await scrape(service.ops_url)):
            await asyncio.sleep(0.01)
    fake(service).hold.set()


def fake(service: Running) -> FakeRunner:
    assert isinstance(service.app.runner, FakeRunner)
    return service.app.runner


@pytest.mark.parametrize(
    ("cause", "count", "statuses"),
    [
        (invalid, 2, {"400": 1, "404": 1}),
        (failed, 1, {"500": 1}),
        (expired, 1, {"504": 1}),
        (cancelled, 1, {"499": 1}),
    ],
)
async def test_a_request_without_an_answer_is_counted_by_how_it_ended(
    cause: Callable[[Running], Any], count: int, statuses: dict[str, float]
) -> None:
    async with running() as service:
        await cause(service)
        seen = await scrape(service.ops_url)
    assert outcomes(seen) == {cause.__name__: count}
    # Fast refusals would make slow answers look fast.
    assert seen.value("inference_request_duration_seconds_count", task="embeddings") == 0
    label = "http_response_status_code"
    assert seen.by(label, "http_server_request_duration_seconds_count") == statuses


@pytest.mark.parametrize(
    ("reason", "settings"),
    [
        ("queue_inputs", {"admission": {"max_inputs": 1}}),
        ("queue_tokens", {"max_queue_tokens": 5}),
        ("queue_bytes", {"admission": {"max_bytes": 12}}),
        ("wait", {"admission": {"max_wait": 1e-9}}),
    ],
)
async def test_a_refusal_for_overload_tells_its_reason(reason: str, settings: dict[str, Any]) -> None:
    async with running(settings_for(**settings)) as service:
        fake(service).hold.clear()
        first = asyncio.create_task(service.embed("one two"))
        async with asyncio.timeout(5):
            while not service.app.batcher.snapshot().executing_inputs:
                await asyncio.sleep(0.005)
        assert (await service.embed("three four")).status_code == 429
        seen = await scrape(service.ops_url)
        fake(service).hold.set()
        await first
    assert outcomes(seen) == {"rejected": 1}
    assert seen.by("reason", "inference_rejections_total") == {reason: 1}


async def test_a_request_that_comes_before_the_model_is_refused_and_counted() -> None:
    runner = LoadingRunner()
    async with listening(create_app(settings_for(), runner=runner)) as service:
        assert await post(service.api_url) == 503
        seen = await scrape(service.ops_url)
        runner.loaded.set()
        await service.ready.wait()
    assert outcomes(seen) == {"rejected": 1}
    assert seen.by("reason", "inference_rejections_total") == {"starting": 1}


async def test_a_request_that_comes_after_the_model_was_lost_is_refused_and_counted() -> None:
    async with running() as service:
        fake(service).dies_of = DeviceLost("the device is gone")
        assert (await service.embed("one")).status_code == 503
        assert (await service.embed("two")).status_code == 503
        seen = await scrape(service.ops_url)
    assert outcomes(seen) == {"failed": 1, "rejected": 1}
    assert seen.by("reason", "inference_rejections_total") == {"failed": 1}


async def post(api_url: str) -> int:
    async with httpx.AsyncClient(base_url=api_url) as client:
        return (await client.post("/v1/embeddings", json={"model": "fake", "input": "a"})).status_code
