"""A flood is turned away at the door, in the same words and counts as further in."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.models.runner import Task
from tests.api.service import Service, serving

pytestmark = pytest.mark.anyio

ROUTES = ["/v1/embeddings", "/embed", "/v2/models/fake/infer", "/v2/models/fake/versions/1/infer", "/"]
NOT_JSON = b"this is never read"


@pytest.fixture
async def flooded() -> AsyncIterator[Service]:
    async with serving(Task.EMBEDDINGS, max_queue_tokens=4, api_keys="sesame") as service:
        service.client.headers["authorization"] = "Bearer sesame"
        service.runner.hold.clear()
        first = asyncio.create_task(service.post("/embed", inputs="a b c d"))
        while service.app.batcher.snapshot().executing_inputs == 0:
            await asyncio.sleep(0.01)
        # The estimate was less than the four tokens that it has: now nothing more fits.
        try:
            yield service
        finally:
            service.runner.hold.set()
            assert (await first).status_code == 200


@pytest.mark.parametrize("path", [route for route in ROUTES if "versions" not in route])
async def test_refused_unread_in_the_words_of_the_protocol(flooded: Service, path: str) -> None:
    response = await flooded.client.post(path, content=NOT_JSON)
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) >= 1
    assert response.headers["x-request-id"]
    error = response.json()["error"]
    message = error["message"] if path.startswith("/v1") else error
    assert "try again" in message
    (record,) = flooded.observer.requests
    assert (record.outcome, record.reason, record.task) == ("rejected", "queue_tokens", "embeddings")
    (exchange,) = flooded.observer.exchanges
    assert exchange.route == path.replace("fake", "{model}")
    assert exchange.inference is record


async def test_what_would_fail_anyway_gets_its_own_error(flooded: Service) -> None:
    assert (await flooded.post("/rerank", query="a", texts=["b"])).status_code == 404
    assert (await flooded.post("/v2/models/other/infer")).status_code in {400, 404}
    assert (
        await flooded.client.post("/embed", headers={"authorization": "Bearer of bad news"})
    ).status_code == 401
    assert (await flooded.get("/v1/models")).status_code == 200
    assert (await flooded.get("/embed")).status_code == 405


async def test_nothing_is_shed_before_it_has_to_be() -> None:
    async with serving(Task.EMBEDDINGS, max_queue_tokens=4) as service:
        assert (await service.post("/embed", inputs="a b")).status_code == 200
        assert (await service.client.post("/embed", content=NOT_JSON)).status_code == 415
    async with serving(Task.EMBEDDINGS, start=False) as service:
        assert (await service.post("/embed", inputs="a b")).status_code == 503
