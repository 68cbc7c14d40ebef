from typing import Any

import pytest

from tests.api.service import Service

pytestmark = pytest.mark.anyio


@pytest.fixture
async def document(embedder: Service) -> dict[str, Any]:
    body: dict[str, Any] = (await embedder.get("/openapi.json")).json()
    return body


async def test_every_route_of_the_contract_is_described(document: dict[str, Any]) -> None:
    routes = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert routes >= {
        ("post", "/v1/embeddings"),
        ("get", "/v1/models"),
        ("post", "/v1/rerank"),
        ("post", "/rerank"),
        ("post", "/embed"),
        ("post", "/predict"),
        ("get", "/info"),
        ("get", "/v2"),
        ("get", "/v2/health/live"),
        ("get", "/v2/health/ready"),
        ("get", "/v2/models/{model}"),
        ("get", "/v2/models/{model}/ready"),
        ("post", "/v2/models/{model}/infer"),
        ("get", "/startupz"),
        ("get", "/readyz"),
        ("get", "/livez"),
        ("get", "/health"),
    }


async def test_every_inference_route_has_an_example_that_works_and_its_errors(
    document: dict[str, Any], embedder: Service
) -> None:
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        if "post" not in methods:
            continue
        responses = methods["post"]["responses"]
        assert set(responses) == {"200", "400", "404", "413", "415", "429", "500", "503", "504", "default"}
        assert "Retry-After" in responses["429"]["headers"]
        schema = methods["post"]["requestBody"]["content"]["application/json"]["schema"]
        described = schemas[schema["$ref"].rsplit("/", 1)[-1]]
        for example in described.get("examples", [described.get("example")]):
            example.pop("model", None)
            if path == "/v1/embeddings":
                example["model"] = "fake"
            filled = path.replace("{model}", "fake").replace("{version}", "1")
            response = await embedder.client.post(filled, json=example)
            assert response.status_code in {200, 404}, (path, response.text)


async def test_operation_ids_are_unique_and_everything_has_a_summary(document: dict[str, Any]) -> None:
    operations = [one for methods in document["paths"].values() for one in methods.values()]
    assert len({one["operationId"] for one in operations}) == len(operations)
    assert all(one["summary"] and one["description"] for one in operations)


async def test_the_page_is_there(embedder: Service) -> None:
    assert (await embedder.get("/docs")).status_code == 200
