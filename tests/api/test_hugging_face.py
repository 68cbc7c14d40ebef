from typing import Any

import numpy as np
import pytest

from app.models.runner import Task
from tests.api.service import Service, serving

pytestmark = pytest.mark.anyio


async def test_embed_gives_a_list_of_vectors_even_for_one_text(embedder: Service) -> None:
    one = (await embedder.post("/embed", inputs="a text")).json()
    two = (await embedder.post("/embed", inputs=["a text", [1, 2]])).json()
    row = embedder.runner.row("a text")
    np.testing.assert_allclose(one, [row / np.linalg.norm(row)], rtol=1e-6)
    assert two[0] == one[0]
    assert len(two) == 2


async def test_embed_leaves_the_vector_as_the_model_made_it_without_normalize(embedder: Service) -> None:
    made = (await embedder.post("/embed", inputs="a text", normalize=False, dimensions=5)).json()
    np.testing.assert_allclose(made, [embedder.runner.row("a text")[:5]], rtol=1e-6)


async def test_a_zero_vector_stays_zero(embedder: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedder.runner, "row", lambda text: np.zeros(8, np.float32))
    assert (await embedder.post("/embed", inputs="a")).json() == [[0.0] * 8]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"inputs": []}, "inputs"),
        ({"truncate": "yes"}, "truncate"),
        ({"normalize": 1}, "normalize"),
        ({"truncation_direction": "left"}, "truncation_direction"),
        ({"prompt_name": "query"}, "prompt_name"),
        ({"dimensions": 9}, "dimensions"),
    ],
)
async def test_embed_names_the_wrong_field(embedder: Service, change: dict[str, Any], field: str) -> None:
    response = await embedder.post("/embed", **{"inputs": "text", **change})
    assert response.status_code == 400
    assert response.json()["error"].startswith(f"{field}: ")
    assert response.json()["error_type"] == "Validation"


async def test_text_is_cut_or_refused_as_asked(embedder: Service) -> None:
    long = "word " * 300
    cut = await embedder.post("/embed", inputs=["short", long], truncate=True)
    refused = await embedder.post("/embed", inputs=["short", long], truncate=False)
    assert cut.status_code == 200
    assert refused.status_code == 400
    assert refused.json()["error"].startswith("inputs[1]: ")


async def test_predict_gives_labels_best_first(classifier: Service) -> None:
    predicted = (await classifier.post("/predict", inputs="happy happy sad")).json()
    scores = np.exp([2, 1, 0]) / np.exp([2, 1, 0]).sum()
    assert [item["label"] for item in predicted] == ["happy", "sad", "neutral"]
    np.testing.assert_allclose([item["score"] for item in predicted], scores, rtol=1e-6)


async def test_predict_options(classifier: Service) -> None:
    raw = (await classifier.post("/predict", inputs="happy happy", raw_scores=True, top_k=1)).json()
    sigmoid = (await classifier.post("/predict", inputs="sad", function_to_apply="sigmoid", top_k=1)).json()
    assert raw == [{"label": "happy", "score": 2.0}]
    assert sigmoid[0]["score"] == pytest.approx(1 / (1 + np.exp(-1)))


@pytest.mark.parametrize(
    ("inputs", "texts"),
    [
        ("sad", "sad"),
        (["sad"], "sad"),
        (["sad x", "y happy"], "sad x|y happy"),
        ([["sad"], ["happy x", "y happy"]], ["sad", "happy x|y happy"]),
        ([["sad"]], ["sad"]),
    ],
)
async def test_predict_reads_texts_and_pairs_as_text_embeddings_inference_does(
    classifier: Service, inputs: Any, texts: str | list[str]
) -> None:
    predicted = (await classifier.post("/predict", inputs=inputs, raw_scores=True)).json()

    def counts(text: str) -> dict[str, float]:
        return dict(zip(classifier.runner.info.labels, classifier.runner.row(text).tolist(), strict=True))

    if isinstance(texts, str):
        assert {item["label"]: item["score"] for item in predicted} == counts(texts)
    else:
        got = [{item["label"]: item["score"] for item in one} for one in predicted]
        assert got == [counts(text) for text in texts]


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ([], "inputs"),
        (["a", "b", "c"], "inputs"),
        ([["a"], "b"], "inputs[1]"),
        ([["a"], []], "inputs[1]"),
        ([["a", "b", "c"]], "inputs[0]"),
        ([[1]], "inputs[0]"),
        ({"text": "a"}, "inputs"),
    ],
)
async def test_predict_names_the_wrong_input(classifier: Service, inputs: Any, field: str) -> None:
    response = await classifier.post("/predict", inputs=inputs)
    assert response.status_code == 400
    assert response.json()["error"].startswith(f"{field}: ")


async def test_predict_finds_entities_with_their_places(tagger: Service) -> None:
    text = "so Ada Lovelace wrote"
    found = (await tagger.post("/predict", inputs=text)).json()
    assert [(item["entity_group"], item["word"], item["start"], item["end"]) for item in found] == [
        ("NAME", "Ada Lovelace", 3, 15)
    ]
    assert 0.9 < found[0]["score"] <= 1
    assert text[found[0]["start"] : found[0]["end"]] == found[0]["word"]
    batch = (await tagger.post("/predict", inputs=[[text], ["none here"]])).json()
    assert batch == [found, []]


async def test_predict_gives_single_tokens_if_nothing_is_aggregated(tagger: Service) -> None:
    found = (await tagger.post("/predict", inputs="Ada Lovelace", aggregation_strategy="none")).json()
    assert [(item["entity"], item["word"]) for item in found] == [("B-NAME", "Ada"), ("I-NAME", "Lovelace")]
    everything = await tagger.post(
        "/predict", inputs="so Ada", aggregation_strategy="none", ignore_labels=["B-NAME"]
    )
    assert [item["entity"] for item in everything.json()] == ["O"]


async def test_rerank_orders_texts_by_relevance(reranker: Service) -> None:
    texts = ["nothing", "red cat", "a red cat here"]
    ranked = (await reranker.post("/rerank", query="a red cat", texts=texts)).json()
    assert [item["index"] for item in ranked] == [2, 1, 0]
    np.testing.assert_allclose(
        [item["score"] for item in ranked], 1 / (1 + np.exp([-2.0, -1.0, 1.0])), rtol=1e-6
    )
    assert "text" not in ranked[0]
    raw = await reranker.post("/rerank", query="a red cat", texts=texts, raw_scores=True, return_text=True)
    assert raw.json()[0] == {"index": 2, "score": 2.0, "text": "a red cat here"}


async def test_rerank_orders_by_logit_where_scores_are_all_one(
    reranker: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = {"q|a": 30.0, "q|b": 50.0, "q|c": 40.0}
    monkeypatch.setattr(reranker.runner, "row", lambda text: np.array([logits.get(text, 0)], np.float32))
    ranked = (await reranker.post("/rerank", query="q", texts=["a", "b", "c"])).json()
    assert [item["index"] for item in ranked] == [1, 2, 0]


@pytest.mark.parametrize(
    ("change", "field"),
    [({"texts": []}, "texts"), ({"texts": ["a", 1]}, "texts[1]"), ({"query": None}, "query")],
)
async def test_rerank_names_the_wrong_field(reranker: Service, change: dict[str, Any], field: str) -> None:
    response = await reranker.post("/rerank", **{"query": "q", "texts": ["t"], **change})
    assert response.status_code == 400
    assert response.json()["error"].startswith(f"{field}: ")


async def test_info_describes_model_and_limits() -> None:
    async with serving(Task.RERANK, max_batch_tokens=999, truncate=False) as service:
        info = (await service.get("/info")).json()
    assert info["model_id"] == "fake"
    assert info["model_type"] == {"reranker": {"id2label": {"0": "relevant"}, "label2id": {"relevant": 0}}}
    assert (info["max_batch_tokens"], info["auto_truncate"], info["max_input_length"]) == (999, False, 256)
    assert info["max_client_batch_size"] == 2048
