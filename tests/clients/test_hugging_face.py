"""`huggingface_hub.InferenceClient`, unchanged, with the server's address as its model."""

from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from tests.clients.reference import LINE, TEXTS, assert_same_vectors, classify, embed

pytestmark = pytest.mark.clients


def test_feature_extraction(embedder_url: str, minilm: Path) -> None:
    client = InferenceClient(model=embedder_url, token="none")
    assert_same_vectors(client.feature_extraction(TEXTS), embed(minilm, TEXTS))
    assert_same_vectors(
        client.feature_extraction(TEXTS[0], normalize=True, truncate=True, truncation_direction="right"),
        embed(minilm, TEXTS[:1]),
    )
    # As text-embeddings-inference has it, too
    at_route = InferenceClient(model=f"{embedder_url}/embed", token="none")
    assert_same_vectors(at_route.feature_extraction(TEXTS[0]), embed(minilm, TEXTS[:1]))


def test_sentence_similarity(embedder_url: str, minilm: Path) -> None:
    got = InferenceClient(model=embedder_url, token="none").sentence_similarity(TEXTS[0], TEXTS[1:])
    source, *others = embed(minilm, TEXTS)
    np.testing.assert_allclose(got, [source @ other for other in others], atol=1e-4)


def test_text_classification(classifier_url: str, classifier: Path) -> None:
    client = InferenceClient(model=classifier_url, token="none")
    got = client.text_classification(LINE, top_k=2)
    expected = classify("text-classification", classifier, LINE, top_k=2)
    assert [item.label for item in got] == [item["label"] for item in expected]
    np.testing.assert_allclose([item.score for item in got], [item["score"] for item in expected], rtol=1e-4)
    assert len(client.text_classification(LINE)) == 3


@pytest.mark.parametrize("strategy", ["simple", "first", "average", "max"])
def test_token_classification(tagger_url: str, tagger: Path, strategy: str) -> None:
    client = InferenceClient(model=tagger_url, token="none")
    got = client.token_classification(LINE, aggregation_strategy=strategy)  # type: ignore[arg-type]
    expected = classify("token-classification", tagger, LINE, aggregation_strategy=strategy)
    assert [(item.entity_group, item.start, item.end) for item in got] == [
        (item["entity_group"], item["start"], item["end"]) for item in expected
    ]
    assert got
    np.testing.assert_allclose([item.score for item in got], [item["score"] for item in expected], rtol=1e-4)
    assert all(LINE[item.start : item.end] == item.word for item in got)


def test_what_the_server_is(embedder_url: str) -> None:
    client = InferenceClient(model=embedder_url, token="none", provider="hf-inference")
    info = client.get_endpoint_info()
    assert (info["max_input_length"], info["model_dtype"]) == (256, "float32")
    assert client.health_check()


def test_errors_say_what_is_wrong(embedder_url: str, classifier_url: str) -> None:
    with pytest.raises(HfHubHTTPError, match="truncation_direction"):
        InferenceClient(model=embedder_url, token="none").feature_extraction("a", truncation_direction="left")
    with pytest.raises(HfHubHTTPError, match="inputs"):
        InferenceClient(model=classifier_url, token="none").text_classification(["a"] * 3)  # type: ignore[arg-type]
