import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import pipeline

from app.models.postprocess import Aggregation, Entity, entities
from app.models.runner import Row, TextInput, TokenizedInput
from app.models.torch_runner import TorchRunner
from tests.models.conftest import MIXED, Load, Make

TEXTS = (
    *MIXED[:4],
    "Angela Merkel visited Zürich, unbelievable!",
    "\U0001f600 Angela\U0001f468\u200d\U0001f469 in  Paris\n(France) \u4e2d\u6587 x",
    "[MASK] in Berlin's old-town",
)
STRATEGIES: tuple[Aggregation, ...] = ("none", "simple", "first", "average", "max")


def logits_of(runner: TorchRunner, texts: tuple[str, ...]) -> tuple[list[TokenizedInput], list[Row]]:
    tokenized = runner.tokenize([TextInput(text) for text in texts], truncate=True)
    return tokenized, runner.run(tokenized)


def by_transformers(folder: Path, strategy: Aggregation) -> Any:
    return pipeline("token-classification", str(folder), device="cpu", aggregation_strategy=strategy)


def check_equal(ours: list[Entity], theirs: Any, text: str) -> None:
    expected = [(item.get("entity_group") or item["entity"], item["start"], item["end"]) for item in theirs]
    assert [(entity.label, entity.start, entity.end) for entity in ours] == expected
    np.testing.assert_allclose(
        [entity.score for entity in ours], [item["score"] for item in theirs], atol=1e-5
    )
    assert [entity.word for entity in ours] == [text[item["start"] : item["end"]] for item in theirs]


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "xlm-roberta"])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")  # the pipeline's, for byte pairs
def test_entities_are_the_pipelines_own(made: Make, load: Load, family: str, strategy: Aggregation) -> None:
    folder = made("token_classifier", family)
    runner = load(folder)
    theirs = by_transformers(folder, strategy)
    found = 0
    for text, tokenized, logits in zip(TEXTS, *logits_of(runner, TEXTS), strict=True):
        ours = entities(logits, tokenized, runner.info, strategy)
        check_equal(ours, theirs(text) if text else [], text)
        found += len(ours)
    assert found > 10


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_entities_of_any_logits(made: Make, load: Load, family: str, strategy: Aggregation) -> None:
    """The small models mix their labels little, so that noise makes the B- and I- of every order."""
    folder = made("token_classifier", family)
    runner = load(folder)
    theirs = by_transformers(folder, strategy)
    random = np.random.default_rng(0)
    for text in TEXTS * 10:
        if not text:
            continue
        tokenized = runner.tokenize([TextInput(text)], truncate=True)[0]
        logits = random.normal(scale=2, size=(tokenized.tokens, 5)).astype(np.float32)
        inputs = next(theirs.preprocess(text, is_split_into_words=False))
        outputs = {**inputs, "logits": torch.from_numpy(logits).unsqueeze(0)}
        with warnings.catch_warnings(action="ignore"):
            expected = theirs.postprocess([outputs], aggregation_strategy=_enum(theirs, strategy))
        check_equal(entities(logits, tokenized, runner.info, strategy), expected, text)


def _enum(theirs: Any, strategy: Aggregation) -> Any:
    return theirs._sanitize_parameters(aggregation_strategy=strategy)[2]["aggregation_strategy"]


def test_logits_end_with_their_own_text(made: Make, load: Load) -> None:
    runner = load(made("token_classifier"))
    tokenized, together = logits_of(runner, MIXED)
    for item, row in zip(tokenized, together, strict=True):
        assert row.shape == (item.tokens, 5)
        np.testing.assert_allclose(row, runner.run([item])[0], atol=2e-6)


def test_offsets_are_characters_of_the_callers_text(made: Make, load: Load) -> None:
    runner = load(made("token_classifier"))
    text = "\U0001f600\U0001f468\u200d\U0001f469 nai\u0308ve ZÜRICH"
    tokenized, logits = logits_of(runner, (text,))
    found = entities(logits[0], tokenized[0], runner.info, "none", ignore=())
    assert found[0].word == "\U0001f600\U0001f468\u200d\U0001f469"
    assert "".join(entity.word for entity in found).endswith("ZÜRICH")
    assert all(entity.word == text[entity.start : entity.end] for entity in found)


def test_letters_with_combining_marks_stay_one_word(made: Make, load: Load) -> None:
    """Transformers compares a token's length with its text's, and would take the `e` for a word's rest."""
    runner = load(made("token_classifier"))
    text = "in e\u0301 in"
    tokenized = runner.tokenize([TextInput(text)], truncate=True)[0]
    assert list(tokenized.words) == [None, 0, 1, 2, None]


def test_labels_may_be_kept_or_ignored(made: Make, load: Load) -> None:
    runner = load(made("token_classifier"))
    tokenized, logits = logits_of(runner, (TEXTS[3],))
    every = entities(logits[0], tokenized[0], runner.info, "none", ignore=())
    assert len(every) == tokenized[0].tokens - 2
    some = entities(logits[0], tokenized[0], runner.info, "none", ignore={"B-PER"})
    assert [entity for entity in every if entity.label != "B-PER"] == some


def test_an_empty_text_has_no_entities(made: Make, load: Load) -> None:
    runner = load(made("token_classifier"))
    tokenized, logits = logits_of(runner, ("",))
    for strategy in STRATEGIES:
        assert entities(logits[0], tokenized[0], runner.info, strategy, ignore=()) == []
