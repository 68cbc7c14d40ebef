import json
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest

from app.api.tensors import join_elements, split_elements
from app.models.runner import Task
from tests.api.service import Service, serving

pytestmark = pytest.mark.anyio

INFER = "/v2/models/fake/infer"


def tensor(*texts: Any, name: str = "text", shape: list[int] | None = None) -> dict[str, Any]:
    return {"name": name, "shape": shape or [len(texts)], "datatype": "BYTES", "data": list(texts)}


def binary(*texts: bytes, name: str = "text", shape: list[int] | None = None) -> tuple[dict[str, Any], bytes]:
    data = join_elements(texts)
    parameters = {"binary_data_size": len(data)}
    described = {"name": name, "shape": shape or [len(texts)], "datatype": "BYTES", "parameters": parameters}
    return described, data


async def send(service: Service, head: dict[str, Any], tail: bytes, **headers: str) -> httpx.Response:
    text = json.dumps(head).encode()
    lengths = {"inference-header-content-length": str(len(text)), "content-type": "application/octet-stream"}
    return await service.client.post(INFER, content=text + tail, headers={**lengths, **headers})


def outputs(response: httpx.Response) -> dict[str, Any]:
    """The outputs of a JSON response by name, as arrays or lists of texts."""
    assert response.status_code == 200, response.text
    found = {}
    for output in response.json()["outputs"]:
        assert output["datatype"] in {"FP32", "BYTES"}
        found[output["name"]] = np.array(output["data"]).reshape(output["shape"])
    return found


async def test_embeddings(embedder: Service) -> None:
    response = await embedder.post(INFER, id="mine", inputs=[tensor("one", "two words")])
    body = response.json()
    assert (body["model_name"], body["model_version"], body["id"]) == ("fake", "1", "mine")
    assert "parameters" not in body
    rows = [embedder.runner.row(text) for text in ("one", "two words")]
    expected = [row / np.linalg.norm(row) for row in rows]
    np.testing.assert_allclose(outputs(response)["embeddings"], expected, rtol=1e-6)


async def test_parameters_of_embeddings(embedder: Service) -> None:
    parameters = {"normalize": False, "dimensions": 3, "priority": 1}
    response = await embedder.post(INFER, inputs=[tensor("one")], parameters=parameters)
    np.testing.assert_allclose(outputs(response)["embeddings"], [embedder.runner.row("one")[:3]], rtol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "texts"),
    [
        ([tensor("a", "b", shape=[2, 1])], ["a", "b"]),
        ([tensor(["a"], ["b"], shape=[2, 1])], ["a", "b"]),
        ([tensor("a", "b", "c", "d", shape=[2, 2])], ["a|b", "c|d"]),
        ([tensor(["a", "b"], ["c", "d"], shape=[2, 2])], ["a|b", "c|d"]),
        ([tensor("a", "c"), tensor("b", "d", name="text_pair")], ["a|b", "c|d"]),
        ([tensor("b", "d", name="text_pair", shape=[2, 1]), tensor("a", shape=[1, 1])], ["a|b", "a|d"]),
    ],
)
async def test_texts_and_pairs_in_every_shape(embedder: Service, inputs: Any, texts: list[str]) -> None:
    response = await embedder.post(INFER, inputs=inputs, parameters={"normalize": False})
    expected = [embedder.runner.row(text) for text in texts]
    np.testing.assert_allclose(outputs(response)["embeddings"], expected, rtol=1e-6)


async def test_labels_and_scores(classifier: Service) -> None:
    response = await classifier.post(
        INFER, inputs=[tensor("sad", "happy happy")], parameters={"top_k": 2, "raw_scores": True}
    )
    assert outputs(response)["labels"].tolist() == [["sad", "neutral"], ["happy", "sad"]]
    assert outputs(response)["scores"].tolist() == [[1, 0], [2, 0]]


async def test_entities_are_a_document_for_each_text(tagger: Service) -> None:
    response = await tagger.post(INFER, inputs=[tensor("so Ada", "none")])
    documents = [json.loads(document) for document in outputs(response)["entities"]]
    assert [[(item["entity_group"], item["start"]) for item in document] for document in documents] == [
        [("NAME", 3)],
        [],
    ]


async def test_rerank_scores_stay_in_the_documents_order(reranker: Service) -> None:
    inputs = [tensor("a red cat"), tensor("nothing", "red cat", name="text_pair")]
    response = await reranker.post(INFER, inputs=inputs, parameters={"raw_scores": True})
    assert outputs(response)["scores"].tolist() == [-1, 1]
    alone = await reranker.post(INFER, inputs=[tensor("a red cat")])
    assert alone.status_code == 400
    assert "text_pair" in alone.json()["error"]


async def test_cut_inputs_are_counted_in_the_response(embedder: Service) -> None:
    long = "word " * 300
    response = await embedder.post(INFER, inputs=[tensor(long, "short", long)])
    refused = await embedder.post(INFER, inputs=[tensor("short", long)], parameters={"truncate": False})
    assert response.json()["parameters"] == {"truncated_inputs": 2}
    assert refused.status_code == 400
    assert refused.json()["error"].startswith("inputs[0].data[1]: ")


async def test_binary_tensors_in(embedder: Service) -> None:
    first, first_data = binary("grüße\0".encode())
    second, second_data = binary(b"b", name="text_pair")
    response = await send(
        embedder, {"inputs": [first, second], "parameters": {"normalize": False}}, first_data + second_data
    )
    expected = [embedder.runner.row("grüße\0|b")]
    np.testing.assert_allclose(outputs(response)["embeddings"], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("everything", "wishes", "in_json"),
    [
        (True, {}, set()),
        (True, {"scores": None}, set()),
        (False, {"labels": True, "scores": None}, {"scores"}),
        (True, {"scores": False, "labels": None}, {"scores"}),
    ],
)
async def test_binary_tensors_out_where_they_are_wanted(
    classifier: Service, everything: bool, wishes: dict[str, bool | None], in_json: set[str]
) -> None:
    body: dict[str, Any] = {"inputs": [tensor("sad", "grüße")]}
    body["parameters"] = {"raw_scores": True, "binary_data_output": everything}
    if wishes:
        body["outputs"] = [
            {"name": name} if wish is None else {"name": name, "parameters": {"binary_data": wish}}
            for name, wish in wishes.items()
        ]
    response = await classifier.post(INFER, **body)
    length = int(response.headers["inference-header-content-length"])
    assert response.headers["content-type"] == "application/octet-stream"
    made, rest = json.loads(response.content[:length])["outputs"], response.content[length:]
    assert {output["name"] for output in made} == (set(wishes) or {"labels", "scores"})
    assert {output["name"] for output in made if "data" in output} == in_json
    for output in made:
        if "data" in output:
            continue
        size = output["parameters"]["binary_data_size"]
        data, rest = rest[:size], rest[size:]
        if output["name"] == "labels":
            labels = [element.decode() for element in split_elements(memoryview(data), "labels")]
            assert labels == ["sad", "neutral", "happy", "sad", "neutral", "happy"]
        else:
            assert np.frombuffer(data, "<f4").tolist() == [1, 0, 0, 0, 0, 0]
    assert rest == b""


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"inputs": []}, "inputs"),
        ({"inputs": [tensor("a"), tensor("a")]}, "inputs"),
        ({"inputs": [tensor("a", name="text_pair")]}, "inputs"),
        ({"inputs": [tensor("a", name="texts")]}, "inputs[0].name"),
        ({"inputs": [{**tensor("a"), "datatype": "FP32"}]}, "inputs[0].datatype"),
        ({"inputs": [tensor("a", shape=[2])]}, "inputs[0].shape"),
        ({"inputs": [tensor("a", shape=[2**62, 2])]}, "inputs[0].shape"),
        ({"inputs": [tensor(shape=[0])]}, "inputs[0].shape[0]"),
        ({"inputs": [tensor("a", shape=[1, 1, 1])]}, "inputs[0].shape"),
        ({"inputs": [tensor("a", "b", "c", shape=[1, 3])]}, "inputs"),
        ({"inputs": [tensor("a", "b", shape=[1, 2]), tensor("c", name="text_pair")]}, "inputs"),
        ({"inputs": [tensor("a", "b"), tensor("c", "d", "e", name="text_pair")]}, "inputs"),
        ({"inputs": [tensor(1)]}, "inputs[0].data"),
        ({"inputs": [tensor(["a", 2])]}, "inputs[0].data"),
        ({"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES"}]}, "inputs[0]"),
        ({"outputs": [{"name": "labels"}]}, "outputs[0].name"),
        ({"parameters": {"dimensions": 9}}, "dimensions"),
        ({"parameters": {"top_k": "3"}}, "parameters.top_k"),
        ({"id": 3}, "id"),
    ],
)
async def test_a_wrong_field_is_named(embedder: Service, change: dict[str, Any], field: str) -> None:
    response = await embedder.post(INFER, **{"inputs": [tensor("a")], **change})
    assert response.status_code == 400
    assert list(response.json()) == ["error"]
    assert response.json()["error"].startswith(f"{field}: ")
    assert [(record.outcome, record.task) for record in embedder.observer.requests] == [
        ("invalid", "embeddings")
    ]


async def test_binary_data_that_does_not_fit_is_refused(embedder: Service) -> None:
    described, data = binary(b"abc")
    head = {"inputs": [described]}
    cases = {
        "too short": await send(embedder, head, data[:-1]),
        "too long": await send(embedder, head, data + b"x"),
        "an element too long": await send(embedder, head, b"\xff\xff\xff\xff" + data[4:]),
        "not UTF-8": await send(embedder, head, data[:4] + b"\xff\xfe\xfd"),
        "both": await send(embedder, {"inputs": [{**described, "data": ["abc"]}]}, data),
        "half a length": await send(
            embedder, {"inputs": [{**described, "parameters": {"binary_data_size": 2}}]}, data[:2]
        ),
        "header too large": await send(embedder, head, data, **{"inference-header-content-length": "9999"}),
        "header no number": await send(embedder, head, data, **{"inference-header-content-length": "-1"}),
        "header huge": await send(embedder, head, data, **{"inference-header-content-length": "9" * 5000}),
        "no header": await embedder.client.post(INFER, content=json.dumps(head).encode() + data),
    }
    assert {name: response.status_code for name, response in cases.items()} == dict.fromkeys(cases, 400)
    assert all(list(response.json()) == ["error"] for response in cases.values())


async def test_versions(embedder: Service) -> None:
    one = await embedder.post("/v2/models/fake/versions/1/infer", inputs=[tensor("a")])
    two = await embedder.post("/v2/models/fake/versions/2/infer", inputs=[tensor("a")])
    assert one.status_code == 200
    assert two.status_code == 404
    assert (await embedder.get("/v2/models/fake/versions/1/ready")).json() == {"name": "fake", "ready": True}
    assert (await embedder.get("/v2/models/fake/versions/2/ready")).status_code == 404
    described = (await embedder.get("/v2/models/fake")).json()
    assert (await embedder.get("/v2/models/fake/versions/1")).json() == described
    assert (await embedder.get("/v2/models/fake/versions/2")).status_code == 404


async def test_an_unknown_model_is_not_found(embedder: Service) -> None:
    responses = [
        await embedder.post("/v2/models/other/infer", inputs=[tensor("a")]),
        await embedder.get("/v2/models/other"),
        await embedder.get("/v2/models/other/ready"),
    ]
    assert [response.status_code for response in responses] == [404] * 3
    assert all("fake" in response.json()["error"] for response in responses)


async def test_a_model_name_may_hold_slashes() -> None:
    async with serving(Task.EMBEDDINGS, model_name="org/name") as service:
        service.runner.info = replace(service.runner.info, name="org/name")
        assert (await service.get("/v2/models/org/name/ready")).json()["ready"] is True
        assert (await service.get("/v2/models/org/name")).json()["name"] == "org/name"
        assert (await service.get("/v1/models/org/name")).json()["id"] == "org/name"
        response = await service.post("/v2/models/org/name/infer", inputs=[tensor("a")])
        assert response.json()["model_name"] == "org/name"


@pytest.mark.parametrize(
    ("task", "inputs", "made"),
    [
        (Task.EMBEDDINGS, ["text"], {"embeddings": ("FP32", [-1, 8])}),
        (Task.TEXT_CLASSIFICATION, ["text"], {"labels": ("BYTES", [-1, 3]), "scores": ("FP32", [-1, 3])}),
        (Task.TOKEN_CLASSIFICATION, ["text"], {"entities": ("BYTES", [-1])}),
        (Task.RERANK, ["text", "text_pair"], {"scores": ("FP32", [-1])}),
    ],
)
async def test_metadata_says_what_infer_takes_and_gives(
    task: Task, inputs: list[str], made: dict[str, tuple[str, list[int]]]
) -> None:
    async with serving(task) as service:
        described = (await service.get("/v2/models/fake")).json()
        tensors = [tensor("a b", "c d", name=name) for name in inputs]
        given = (await service.post(INFER, inputs=tensors)).json()["outputs"]
    assert (described["name"], described["versions"]) == ("fake", ["1"])
    assert [item["name"] for item in described["inputs"]] == inputs
    assert {item["name"]: (item["datatype"], item["shape"]) for item in described["outputs"]} == made
    assert {item["name"]: (item["datatype"], [-1, *item["shape"][1:]]) for item in given} == made


async def test_server_metadata_and_health(embedder: Service) -> None:
    server = (await embedder.get("/v2")).json()
    assert (server["name"], server["extensions"]) == ("vitrine", ["binary_tensor_data"])
    assert (await embedder.get("/v2/health/live")).json() == {"live": True}
    assert (await embedder.get("/v2/health/ready")).json() == {"ready": True}
