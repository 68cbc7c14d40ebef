"""A flood is turned away at the door, in the same words and counts as further in."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from app.models.runner import Task
from tests.api.words import WordRunner
from tests.fakes import RecordingObserver
from tests.running import running, settings_for

pytestmark = pytest.mark.anyio

ROUTES = ["/v1/embeddings", "/embed", "/v2/models/fake/infer", "/"]
NOT_JSON = b"this is never read"


@dataclass
class Flooded:
    client: httpx.AsyncClient
    observer: RecordingObserver


@pytest.fixture
async def flooded() -> AsyncIterator[Flooded]:
    """A service that has all the work that it may have."""
    runner, observer = WordRunner(Task.EMBEDDINGS), RecordingObserver()
    settings = settings_for(max_queue_tokens=4, api_keys="sesame")
    async with running(settings, runner=runner, observer=observer) as service:
        service.client.headers["authorization"] = "Bearer sesame"
        runner.hold.clear()
        first = asyncio.create_task(service.client.post("/embed", json={"inputs": "a b c d"}))
        while service.app.batcher.snapshot().executing_inputs == 0:
            await asyncio.sleep(0.01)
        # The estimate was less than the four tokens that it has: now nothing more fits.
        try:
            yield Flooded(service.client, observer)
        finally:
            runner.hold.set()
            assert (await first).status_code == 200


@pytest.mark.parametrize("path", ROUTES)
async def test_refused_unread_in_the_words_of_the_protocol(flooded: Flooded, path: str) -> None:
    response = await flooded.client.post(path, content=NOT_JSON, headers={"x-request-id": "mine"})
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) >= 1
    assert response.headers["x-request-id"] == "mine"
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    message = error["message"] if path.startswith("/v1") else error
    assert "try again" in message
    (record,) = flooded.observer.requests
    assert (record.outcome, record.reason, record.task) == ("rejected", "queue_tokens", "embeddings")
    (exchange,) = flooded.observer.exchanges
    assert (exchange.route, exchange.status) == (path.replace("fake", "{model}"), 429)
    assert exchange.inference is record
    assert exchange.request_id == "mine"


async def test_a_connection_goes_on_after_it_even_with_a_body_that_comes_late(flooded: Flooded) -> None:
    url = flooded.client.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    head = b"POST /embed HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sesame\r\nContent-Length: 4\r\n\r\n"
    health = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    writer.write(head)
    assert b" 429 " in await reader.readuntil(b"\r\n\r\n")
    writer.write(b"late" + 3 * (head + b"soon") + health)
    seen = b""
    while b" 200 " not in seen:
        seen += await asyncio.wait_for(reader.read(65536), 5)
    assert seen.count(b" 429 ") == 3
    writer.close()
    await writer.wait_closed()


async def test_a_client_that_wants_to_close_is_closed(flooded: Flooded) -> None:
    response = await flooded.client.post("/embed", content=NOT_JSON, headers={"connection": "close"})
    assert (response.status_code, response.headers["connection"]) == (429, "close")


async def test_what_would_fail_anyway_gets_its_own_error(flooded: Flooded) -> None:
    client = flooded.client
    assert (await client.post("/rerank", json={"query": "a", "texts": ["b"]})).status_code == 404
    assert (await client.post("/v2/models/other/infer", json={})).status_code in {400, 404}
    unknown = {"authorization": "Bearer of bad news"}
    assert (await client.post("/embed", headers=unknown)).status_code == 401
    assert (await client.get("/v1/models")).status_code == 200
    assert (await client.get("/embed")).status_code == 405
    late = await client.post("/embed", headers={"x-request-timeout-ms": "soon"})
    assert (late.status_code, late.json()["error"]["param"]) == (400, "x-request-timeout-ms")


async def test_nothing_is_shed_before_it_has_to_be() -> None:
    settings = settings_for(max_queue_tokens=4)
    async with running(settings, runner=WordRunner(Task.EMBEDDINGS)) as service:
        assert (await service.client.post("/embed", json={"inputs": "a b"})).status_code == 200
        assert (await service.client.post("/embed", content=NOT_JSON)).status_code == 415
