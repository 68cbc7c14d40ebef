import base64
from typing import Any

import numpy as np
import pytest

from app.models.runner import Row
from tests.api.service import Service

pytestmark = pytest.mark.anyio


def unit(row: Row) -> Row:
    return row / np.linalg.norm(row)


async def embed(service: Service, input_: Any, **options: Any) -> dict[str, Any]:
    response = await service.post("/v1/embeddings", model="fake", input=input_, **options)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def test_each_text_gets_its_own_vector_of_length_one(embedder: Service) -> None:
    body = await embed(embedder, ["one", "two words"])
    assert body["object"] == "list"
    assert body["model"] == "fake"
    assert body["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert [item["index"] for item in body["data"]] == [0, 1]
    assert {item["object"] for item in body["data"]} == {"embedding"}
    for item, text in zip(body["data"], ["one", "two words"], strict=True):
        np.testing.assert_allclose(item["embedding"], unit(embedder.runner.row(text)), rtol=1e-6)


async def test_base64_holds_the_same_float32s(embedder: Service) -> None:
    as_floats = (await embed(embedder, "text"))["data"][0]["embedding"]
    as_base64 = (await embed(embedder, "text", encoding_format="base64"))["data"][0]["embedding"]
    decoded = np.frombuffer(base64.b64decode(as_base64), "<f4")
    np.testing.assert_array_equal(decoded, np.array(as_floats, np.float32))


async def test_fewer_dimensions_are_the_first_ones_at_length_one_again(embedder: Service) -> None:
    vector = (await embed(embedder, "text", dimensions=3))["data"][0]["embedding"]
    np.testing.assert_allclose(vector, unit(embedder.runner.row("text")[:3]), rtol=1e-6)


@pytest.mark.parametrize(
    ("input_", "texts"),
    [
        ("one text", ["one text"]),
        ([7, 8, 9], ["7 8 9"]),
        ([[7, 8], [9]], ["7 8", "9"]),
        (["a text", [7]], ["a text", "7"]),
        ("", [""]),
        ("with a \0 in it", ["with a \0 in it"]),
        ("grüße 😀 \u202e", ["grüße 😀 \u202e"]),
    ],
)
async def test_input_in_every_shape(embedder: Service, input_: Any, texts: list[str]) -> None:
    body = await embed(embedder, input_)
    for item, text in zip(body["data"], texts, strict=True):
        np.testing.assert_allclose(item["embedding"], unit(embedder.runner.row(text)), rtol=1e-6)


async def test_fields_that_mean_nothing_here_are_ignored(embedder: Service) -> None:
    assert (await embed(embedder, "text", user="someone", something="else"))["data"]


@pytest.mark.parametrize(
    ("change", "param", "allowed"),
    [
        ({"input": []}, "input", "at least one"),
        ({"input": 5}, "input", "text"),
        ({"input": None}, "input", "text"),
        ({"input": {"text": "x"}}, "input", "text"),
        ({"input": ["a", 5]}, "input[1]", "text"),
        ({"input": [1, "a"]}, "input", "token ids"),
        ({"input": [1, True]}, "input", "token ids"),
        ({"input": [1.5]}, "input[0]", "token ids"),
        ({"input": [[1], []]}, "input[1]", "non-empty"),
        ({"input": [[[1]]]}, "input[0]", "token ids"),
        ({"input": [-1]}, "input", "from 0"),
        ({"input": [[2**31]]}, "input[0]", "from 0"),
        ({"input": [1, 2**70]}, "input", "token ids"),
        ({"dimensions": 0}, "dimensions", "greater than or equal to 1"),
        ({"dimensions": 9}, "dimensions", "8"),
        ({"dimensions": "3"}, "dimensions", "integer"),
        ({"dimensions": 2.5}, "dimensions", "integer"),
        ({"dimensions": True}, "dimensions", "integer"),
        ({"encoding_format": "hex"}, "encoding_format", "'float' or 'base64'"),
        ({"model": 3}, "model", "string"),
    ],
)
async def test_a_wrong_field_is_named_with_what_is_allowed(
    embedder: Service, change: dict[str, Any], param: str, allowed: str
) -> None:
    response = await embedder.post("/v1/embeddings", **{"model": "fake", "input": "text", **change})
    error = response.json()["error"]
    assert response.status_code == 400
    assert (error["param"], error["type"], error["code"]) == (param, "invalid_request_error", "invalid_input")
    assert allowed in error["message"]
    assert [record.outcome for record in embedder.observer.requests] == ["invalid"]


@pytest.mark.parametrize("field", ["model", "input"])
async def test_a_missing_field_is_named(embedder: Service, field: str) -> None:
    body = {"model": "fake", "input": "text"}
    del body[field]
    response = await embedder.post("/v1/embeddings", **body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == field


async def test_another_model_is_not_found(embedder: Service) -> None:
    response = await embedder.post("/v1/embeddings", model="gpt-9", input="text")
    error = response.json()["error"]
    assert response.status_code == 404
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert "fake" in error["message"]


async def test_a_model_of_another_task_says_what_it_does(classifier: Service) -> None:
    response = await classifier.post("/v1/embeddings", model="fake", input="text")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "task_not_supported"
    assert "text-classification" in response.json()["error"]["message"]


async def test_models(embedder: Service) -> None:
    listed = (await embedder.get("/v1/models")).json()
    assert listed["object"] == "list"
    [model] = listed["data"]
    assert (model["id"], model["object"], model["owned_by"]) == ("fake", "model", "vitrine")
    assert isinstance(model["created"], int)
    assert (await embedder.get("/v1/models/fake")).json() == model
    missing = await embedder.get("/v1/models/gpt-9")
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "model_not_found"
