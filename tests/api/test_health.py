import pytest

from app.health import Phase
from app.models.runner import Task
from tests.api.service import Service, serving

pytestmark = pytest.mark.anyio

PROBES = ("/startupz", "/readyz", "/livez", "/health")


async def answers(service: Service) -> dict[str, int]:
    """Of the API's port; the operations port must say the same."""
    found = {}
    for path in PROBES:
        response, of_ops = await service.get(path), await service.ops.get(path)
        assert (of_ops.status_code, of_ops.content) == (response.status_code, response.content)
        found[path] = response.status_code
    return found


async def test_well() -> None:
    async with serving(Task.EMBEDDINGS) as service:
        assert await answers(service) == dict.fromkeys(PROBES, 200)
        assert (await service.get("/readyz")).json() == {"status": "ok"}


async def test_starting_is_alive_but_not_started() -> None:
    async with serving(Task.EMBEDDINGS, start=False) as service:
        assert await answers(service) == {"/startupz": 503, "/readyz": 503, "/livez": 200, "/health": 503}
        starting = (await service.get("/startupz")).json()
        assert (await service.get("/v2/health/ready")).status_code == 503
        assert (await service.get("/v2/health/ready")).json() == {"ready": False}
        assert (await service.get("/v2/health/live")).json() == {"live": True}
    assert starting["status"] == "unavailable"
    assert "loading" in starting["reason"]


async def test_draining_is_not_ready(embedder: Service) -> None:
    embedder.app.health.move(Phase.DRAINING, "the server is draining")
    assert await answers(embedder) == {"/startupz": 200, "/readyz": 503, "/livez": 200, "/health": 503}
    assert (await embedder.get("/readyz")).json()["reason"] == "the server is draining"
    model = await embedder.get("/v2/models/fake/ready")
    assert (model.status_code, "draining" in model.json()["error"]) == (503, True)
    assert (await embedder.post("/embed", inputs="a")).status_code == 200


async def test_failed_is_dead(embedder: Service) -> None:
    embedder.app.health.move(Phase.FAILED, "the worker died")
    assert (await answers(embedder))["/livez"] == 503
    assert (await embedder.get("/v2/health/live")).status_code == 503


async def test_the_operations_port_has_no_api(embedder: Service) -> None:
    assert (await embedder.ops.post("/embed", json={"inputs": "a"})).status_code == 404
    assert (await embedder.ops.get("/openapi.json")).status_code == 404
