"""A model of words whose answers a test can foresee, for every task."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from app.errors import InputTooLong, InvalidInput
from app.models.runner import Input, Row, Task, TextInput, TokenizedInput
from tests.fakes import FakeRunner

LABELS = {
    Task.EMBEDDINGS: (),
    Task.TEXT_CLASSIFICATION: ("sad", "neutral", "happy"),
    Task.TOKEN_CLASSIFICATION: ("O", "B-NAME", "I-NAME"),
    Task.RERANK: ("relevant",),
}
REFUSED = "refused-by-the-tokenizer"


class WordRunner(FakeRunner):
    """Each word is a token. Classes are scored by how often their label stands in the text, tokens are names
    if they begin with a capital, and documents are as relevant as they share words with the query."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.info = replace(self.info, labels=LABELS[task])

    def tokenize(self, inputs: Sequence[Input], *, truncate: bool) -> list[TokenizedInput]:
        return [self._tokenize_one(index, item, truncate) for index, item in enumerate(inputs)]

    def _tokenize_one(self, index: int, item: Input, truncate: bool) -> TokenizedInput:
        if isinstance(item, TextInput):
            text = item.text if item.pair is None else f"{item.text}|{item.pair}"
        else:
            text = " ".join(map(str, item.ids))
        if REFUSED in text:
            raise InvalidInput("This cannot be tokenized.", field=str(index))
        words = list(re.finditer(r"\S+", text))
        too_long = len(words) > self.info.max_tokens
        if too_long and not truncate:
            raise InputTooLong(f"It has more than {self.info.max_tokens} tokens.", field=str(index))
        words = words[: self.info.max_tokens]
        count = max(1, len(words))
        return TokenizedInput(
            [1] * count,
            [0] * count,
            too_long,
            text,
            [word.span() for word in words] or [(0, 0)],
            [0] * count,
            list(range(count)),
        )

    def row(self, text: str) -> Row:
        words = text.split()
        if self.info.task is Task.TEXT_CLASSIFICATION:
            return np.array([words.count(label) for label in self.info.labels], np.float32)
        if self.info.task is Task.TOKEN_CLASSIFICATION:
            kinds = [1 if word.istitle() else 0 for word in words] or [0]
            inside = [2 if kind and index and kinds[index - 1] else kind for index, kind in enumerate(kinds)]
            return 10 * np.eye(3, dtype=np.float32)[inside]
        if self.info.task is Task.RERANK:
            query, _, document = text.partition("|")
            return np.array([len(set(query.split()) & set(document.split())) - 1], np.float32)
        return super().row(text)
