"""`tritonclient.http`, unchanged."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.clients.reference import LINE, TEXTS, assert_same_vectors, classify, embed

pytestmark = pytest.mark.clients


def connect(url: str) -> Any:
    return triton.InferenceServerClient(url.removeprefix("http://"))


def texts(*values: str, name: str = "text", binary: bool = True) -> Any:
    tensor = triton.InferInput(name, [len(values)], "BYTES")
    data = np.array([value.encode() for value in values], np.object_)
    return tensor.set_data_from_numpy(data, binary_data=binary)


@pytest.fixture
def embedder(embedder_url: str) -> Iterator[Any]:
    client = connect(embedder_url)
    yield client
    client.close()


MODEL = "all-MiniLM-L6-v2"


def test_health_and_metadata(embedder: Any) -> None:
    assert embedder.is_server_live()
    assert embedder.is_server_ready()
    assert embedder.is_model_ready(MODEL)
    assert embedder.is_model_ready(MODEL, "1")
    assert not embedder.is_model_ready("other")
    assert not embedder.is_model_ready(MODEL, "2")
    assert embedder.get_server_metadata()["name"] == "vitrine"
    metadata = embedder.get_model_metadata(MODEL)
    assert metadata["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert metadata["outputs"] == [{"name": "embeddings", "datatype": "FP32", "shape": [-1, 384]}]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_embeddings(
    embedder: Any, minilm: Path, binary_in: bool, binary_out: bool | None, compression: str | None
) -> None:
    wanted = (
        None if binary_out is None else [triton.InferRequestedOutput("embeddings", binary_data=binary_out)]
    )
    result = embedder.infer(
        MODEL,
        [texts(*TEXTS, binary=binary_in)],
        outputs=wanted,
        request_id="mine",
        request_compression_algorithm=compression,
        response_compression_algorithm=compression,
    )
    assert_same_vectors(result.as_numpy("embeddings"), embed(minilm, TEXTS))
    assert result.get_response()["id"] == "mine"


def test_many_under_way(embedder_url: str, minilm: Path) -> None:
    client = triton.InferenceServerClient(embedder_url.removeprefix("http://"), concurrency=4)
    numbered = [f"This is text number {number}." for number in range(16)]
    requests = [client.async_infer(MODEL, [texts(text)]) for text in numbered]
    got = [request.get_result().as_numpy("embeddings")[0] for request in requests]
    client.close()
    assert_same_vectors(got, embed(minilm, numbered))


def test_parameters(embedder: Any) -> None:
    result = embedder.infer(
        MODEL, [texts("word " * 400, "short")], model_version="1", parameters={"dimensions": 8}
    )
    assert result.as_numpy("embeddings").shape == (2, 8)
    assert result.get_response()["parameters"] == {"truncated_inputs": 1}


def test_labels_and_scores(classifier_url: str, classifier: Path) -> None:
    client = connect(classifier_url)
    result = client.infer(classifier.name, [texts(LINE)])
    client.close()
    expected = classify("text-classification", classifier, LINE, top_k=None)
    labels = [label.decode() for label in result.as_numpy("labels")[0]]
    assert labels == [item["label"] for item in expected]
    np.testing.assert_allclose(result.as_numpy("scores")[0], [item["score"] for item in expected], rtol=1e-4)


def test_entities(tagger_url: str, tagger: Path) -> None:
    client = connect(tagger_url)
    result = client.infer(tagger.name, [texts(LINE)])
    client.close()
    found = json.loads(result.as_numpy("entities")[0])
    expected = classify("token-classification", tagger, LINE, aggregation_strategy="simple")
    places = [
        [(item["entity_group"], item["start"], item["end"]) for item in one] for one in (found, expected)
    ]
    assert places[0] == places[1] != []


def test_rerank(reranker_url: str, reranker: Path) -> None:
    client = connect(reranker_url)
    result = client.infer(reranker.name, [texts(LINE), texts(*TEXTS, name="text_pair")])
    client.close()
    pairs: Any = [{"text": LINE, "text_pair": text} for text in TEXTS]
    expected = classify("text-classification", reranker, pairs, function_to_apply="sigmoid")
    np.testing.assert_allclose(result.as_numpy("scores"), [item["score"] for item in expected], rtol=1e-4)


def test_errors_say_what_is_wrong(embedder: Any) -> None:
    with pytest.raises(InferenceServerException, match="not served here") as missing:
        embedder.infer("other", [texts("a")])
    assert missing.value.status() == "404"
    with pytest.raises(InferenceServerException, match=r"outputs\[0\]\.name") as wrong:
        embedder.infer(MODEL, [texts("a")], outputs=[triton.InferRequestedOutput("scores")])
    assert wrong.value.status() == "400"
