"""Inference requests go past FastAPI's layers, and nobody can tell."""

import pytest
from starlette.routing import Match
from starlette.types import Scope

from app.api.endpoint import JsonRoute
from app.edge.body import BodyMiddleware
from app.models.runner import Task
from tests.api.service import serving
from tests.api.test_errors import BODIES

pytestmark = pytest.mark.anyio


async def test_only_inference_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    by_fastapi: list[str] = []
    matches = JsonRoute.matches

    def noting(route: JsonRoute, scope: Scope) -> tuple[Match, Scope]:
        by_fastapi.append(scope["path"])
        return matches(route, scope)

    monkeypatch.setattr(JsonRoute, "matches", noting)
    async with serving(Task.EMBEDDINGS) as service:
        for path, body in BODIES.items():
            assert (await service.post(path, **body)).status_code in {200, 404}
        assert not by_fastapi
        other = "/v2/models/fake/versions/1/infer"
        assert (await service.post(other, **BODIES["/v2/models/fake/infer"])).status_code == 200
        assert (await service.get("/v1/embeddings")).status_code == 405
        assert set(by_fastapi) == {other, "/v1/embeddings"}


async def test_a_template_is_no_path() -> None:
    async with serving(Task.EMBEDDINGS) as service:
        body = BODIES["/v2/models/fake/infer"]
        answer = await service.post("/v2/models/fake/versions/{version}/infer", **body)
        assert answer.status_code == 404


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v2/models/fake/infer", {}, 401),
        ("/v2/models/fake/infer", {"authorization": "Bearer key"}, 413),
        ("/v2/models/another/infer", {"authorization": "Bearer key"}, 413),
        ("/v2/models/fake/infer", {"x-request-timeout-ms": "soon"}, 400),
    ],
)
async def test_who_is_refused_before_the_route_is_known_is_recorded_under_it(
    path: str, headers: dict[str, str], status: int
) -> None:
    async with serving(Task.EMBEDDINGS, api_keys=["key"], edge={"max_body_bytes": 10}) as service:
        answer = await service.client.post(path, json=BODIES["/v2/models/fake/infer"], headers=headers)
        assert answer.status_code == status
        (exchange,) = service.observer.exchanges
        assert exchange.route == "/v2/models/{model}/infer"


async def test_a_fault_before_the_route_is_a_500_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(*_: object) -> bytes:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(BodyMiddleware, "_inflate", faulty)
    async with serving(Task.EMBEDDINGS) as service:
        headers = {"content-encoding": "gzip"}
        answer = await service.client.post("/v1/embeddings", json=BODIES["/v1/embeddings"], headers=headers)
        assert answer.status_code == 500
        assert answer.json()["error"]["code"] == "internal_error"
        assert answer.headers["x-request-id"]
        (exchange,) = service.observer.exchanges
        assert exchange.status == 500
