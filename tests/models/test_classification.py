from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from app.models.postprocess import classify, relevance
from app.models.runner import Row, Task, TextInput
from app.models.torch_runner import TorchRunner
from tests.checkpoints import EMOTIONS, MAX_TOKENS
from tests.models.conftest import MIXED, Load, Make

FAMILIES = ["bert", "roberta", "distilbert", "xlm-roberta"]
QUERY = "What is the capital of France?"


def rows(runner: TorchRunner, texts: Sequence[str]) -> list[Row]:
    return runner.run(runner.tokenize([TextInput(text) for text in texts], truncate=True))


def check_equal(ours: Sequence[tuple[str, float]], theirs: Sequence[dict[str, Any]]) -> None:
    assert [label for label, _ in ours] == [answer["label"] for answer in theirs]
    np.testing.assert_allclose(
        [score for _, score in ours], [answer["score"] for answer in theirs], atol=1e-5
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("top_k", [None, 1, 2, 100])
def test_labels_are_the_pipelines_own(
    made: Make, load: Load, family: str, top_k: int | None, *, multi_label: bool
) -> None:
    folder = made("text_classifier", family, multi_label=multi_label)
    runner = load(folder)
    assert (runner.info.labels, runner.info.multi_label) == (EMOTIONS, multi_label)
    theirs: Any = pipeline("text-classification", str(folder), device="cpu")(
        list(MIXED), top_k=top_k, truncation=True, max_length=MAX_TOKENS
    )
    for row, expected in zip(rows(runner, MIXED), theirs, strict=True):
        check_equal(classify(row, runner.info, top_k=top_k), expected)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
def test_an_activation_may_be_chosen(made: Make, load: Load, activation: Any) -> None:
    folder = made("text_classifier")
    runner = load(folder)
    theirs: Any = pipeline("text-classification", str(folder), device="cpu")(
        "joy", top_k=None, function_to_apply=activation
    )
    check_equal(classify(rows(runner, ["joy"])[0], runner.info, activation=activation), theirs)


def test_equal_scores_stay_in_the_order_of_the_labels(made: Make, load: Load) -> None:
    info = replace(load(made("text_classifier")).info, labels=tuple(f"{index:03}" for index in range(300)))
    logits = np.random.default_rng(0).integers(0, 3, 300).astype(np.float32)
    labels = [label for label, _ in classify(logits, info)]
    assert labels == sorted(labels, key=lambda label: (-logits[int(label)], label))


def test_a_classifier_of_one_label_is_served_as_one_if_told(made: Make, load: Load) -> None:
    folder = made("cross_encoder")
    runner = load(folder, task=Task.TEXT_CLASSIFICATION)
    theirs: Any = pipeline("text-classification", str(folder), device="cpu")(["joy"], top_k=None)
    check_equal(classify(rows(runner, ["joy"])[0], runner.info), theirs[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_relevance_is_the_cross_encoders_own(made: Make, load: Load, family: str) -> None:
    folder = made("cross_encoder", family)
    runner = load(folder)
    inputs = [TextInput(QUERY, document) for document in MIXED]
    ours = runner.run(runner.tokenize(inputs, truncate=True))
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for row, document in zip(ours, MIXED, strict=True):
        # A list of pairs: the tokenizer takes a pair by itself with an empty text for a single text
        encoded = tokenizer([(QUERY, document)], truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        with torch.inference_mode():
            logit = model(**encoded).logits[0]
        assert row.shape == (1,)
        assert relevance(row, raw=True) == pytest.approx(float(logit), abs=1e-5)
        assert relevance(row) == pytest.approx(float(torch.sigmoid(logit)), abs=1e-5)


@pytest.mark.parametrize(("logit", "expected"), [(0, 0.5), (1000, 1), (-1000, 0), (-30, 9.357623e-14)])
def test_relevance_holds_for_any_logit(logit: float, expected: float) -> None:
    assert relevance(np.array([logit], np.float32)) == pytest.approx(expected, rel=1e-5)


def test_sentence_transformers_ranks_alike(made: Make, load: Load) -> None:
    from sentence_transformers import CrossEncoder

    folder = made("cross_encoder")
    runner = load(folder)
    theirs = CrossEncoder(str(folder), device="cpu").predict(
        [(QUERY, document) for document in MIXED], show_progress_bar=False
    )
    ours = runner.run(runner.tokenize([TextInput(QUERY, document) for document in MIXED], truncate=True))
    np.testing.assert_allclose([relevance(row) for row in ours], theirs, atol=1e-5)
