import numpy as np
import pytest

from tests.api.service import Service

pytestmark = pytest.mark.anyio


async def test_the_root_does_what_the_model_does(
    embedder: Service, classifier: Service, reranker: Service
) -> None:
    for service, path, body in (
        (embedder, "/embed", {"inputs": ["a", "b"], "normalize": False}),
        (classifier, "/predict", {"inputs": [["sad"], ["happy"]], "top_k": 2}),
        (reranker, "/rerank", {"query": "a", "texts": ["b", "a"], "return_text": True}),
    ):
        at_root = await service.client.post("/", json=body)
        assert at_root.status_code == 200
        assert at_root.json() == (await service.client.post(path, json=body)).json()


async def test_parameters_apart_and_a_list_around_one_texts_labels(classifier: Service) -> None:
    predicted = await classifier.post("/", inputs="sad", parameters={"top_k": 1, "function_to_apply": "none"})
    assert predicted.json() == [[{"label": "sad", "score": 1.0}]]


async def test_entities_have_no_list_around_them(tagger: Service) -> None:
    found = await tagger.post("/", inputs="so Ada", parameters={"aggregation_strategy": "first"})
    assert [(item["entity_group"], item["word"]) for item in found.json()] == [("NAME", "Ada")]


async def test_sentence_similarity_is_the_cosine(embedder: Service) -> None:
    inputs = {"source_sentence": "a", "sentences": ["b", "a"]}
    similarities = (await embedder.post("/", inputs=inputs, parameters={})).json()
    a, b = embedder.runner.row("a"), embedder.runner.row("b")
    expected = [a @ b / np.linalg.norm(a) / np.linalg.norm(b), 1]
    np.testing.assert_allclose(similarities, expected, rtol=1e-5)


async def test_errors_name_the_field(embedder: Service, classifier: Service) -> None:
    missing = await embedder.post("/", inputs={"source_sentence": "a"})
    nothing = await embedder.post("/")
    wrong = await classifier.post("/", inputs="a", parameters={"top_k": 0})
    no_object = await classifier.post("/", inputs="a", parameters=[1])
    assert missing.json()["error"].startswith("inputs.sentences: ")
    assert nothing.json()["error"].startswith("inputs: ")
    assert wrong.json()["error"].startswith("top_k: ")
    assert no_object.json()["error"].startswith("parameters: ")
    assert {response.status_code for response in (missing, nothing, wrong, no_object)} == {400}
    assert [record.task for record in classifier.observer.requests] == ["text-classification"] * 2
