"""From a model's rows to answers: labels with scores, entities in the text, a relevance.

Formulas and conventions are those of Transformers' text and token classification pipelines. numpy only.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np

from app.models.runner import ModelInfo, Row, TokenizedInput

Activation = Literal["softmax", "sigmoid", "none"]
Aggregation = Literal["none", "simple", "first", "average", "max"]
"""none: each token by itself; simple: neighbours of the same type as one; the others first let the tokens of
a word agree: by its first token, the mean of their probabilities, or its surest token."""


@dataclass(frozen=True, slots=True)
class Entity:
    """A named part of the text."""

    label: str
    """The type without its B- or I-; with it if nothing was aggregated."""
    score: float
    """0 to 1, the mean of its parts' scores."""
    word: str
    """The text between `start` and `end`, as the caller wrote it."""
    start: int
    """In characters."""
    end: int


def classify(
    logits: Row, info: ModelInfo, *, top_k: int | None = None, activation: Activation | None = None
) -> list[tuple[str, float]]:
    """Labels with scores, best first, all or the `top_k` best.

    `activation` defaults to sigmoid for multi-label models and those of one label, softmax for others.
    """
    if activation is None:
        activation = "sigmoid" if info.multi_label or len(info.labels) == 1 else "softmax"
    scores = logits
    if activation != "none":
        scores = _sigmoid(logits) if activation == "sigmoid" else _softmax(logits)
    order = np.argsort(-scores, kind="stable")[:top_k]
    return [(info.labels[index], float(scores[index])) for index in order]


def relevance(logit: Row, *, raw: bool = False) -> float:
    """How relevant a document is to the query: 0 to 1 by sigmoid, or the cross-encoder's `raw` logit."""
    return float(logit[0] if raw else _sigmoid(logit)[0])


def entities(
    logits: Row,
    tokenized: TokenizedInput,
    info: ModelInfo,
    strategy: Aggregation = "simple",
    *,
    ignore: Collection[str] = ("O",),
) -> list[Entity]:
    """The entities of a text from its token logits `[tokens, labels]`, in order of the text.

    `word` is the text itself, where Transformers gives the tokens decoded.
    """
    tokens = [index for index, special in enumerate(tokenized.special) if not special]
    if not tokens:
        return []
    probabilities = _softmax(logits)
    if strategy in {"none", "simple"}:
        words = [[index] for index in tokens]
        votes = probabilities[tokens]
    else:
        words = [list(group) for _, group in groupby(tokens, key=tokenized.words.__getitem__)]
        votes = np.stack([_vote(probabilities[word], strategy) for word in words])
    parts = []
    for word, best, score in zip(
        words, votes.argmax(axis=1).tolist(), votes.max(axis=1).tolist(), strict=True
    ):
        start, end = tokenized.offsets[word[0]][0], tokenized.offsets[word[-1]][1]
        parts.append(Entity(info.labels[best], score, tokenized.text[start:end], start, end))
    found = parts if strategy == "none" else _merge(parts, tokenized.text)
    return [entity for entity in found if entity.label not in ignore]


def _vote(of_word: Row, strategy: Aggregation) -> Row:
    """The probabilities `[labels]` that the tokens of one word, `[tokens, labels]`, agree on."""
    vote: Row = of_word[0]
    if strategy == "average":
        vote = of_word.mean(axis=0)
    elif strategy == "max":
        vote = of_word[of_word.max(axis=1).argmax()]
    return vote


def _merge(parts: list[Entity], text: str) -> Iterator[Entity]:
    """Join neighbours of one type; a B- begins a new entity."""
    group: list[Entity] = []
    for part in parts:
        if group and (part.label.startswith("B-") or _type(part.label) != _type(group[-1].label)):
            yield _joined(group, text)
            group = []
        group.append(part)
    if group:
        yield _joined(group, text)


def _joined(group: list[Entity], text: str) -> Entity:
    start, end = group[0].start, group[-1].end
    score = sum(part.score for part in group) / len(group)
    return Entity(group[0].label.split("-", 1)[-1], score, text[start:end], start, end)


def _type(label: str) -> str:
    return label[2:] if label.startswith(("B-", "I-")) else label


def _softmax(logits: Row) -> Row:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scores: Row = powers / powers.sum(axis=-1, keepdims=True)
    return scores


def _sigmoid(logits: Row) -> Row:
    # Below -88 the power overflows float32, where the sigmoid is below 1e-38
    powers: Row = np.exp(-np.maximum(logits, np.float32(-88)))
    return np.float32(1) / (1 + powers)
