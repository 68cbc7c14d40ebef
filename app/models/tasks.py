"""What a task adds to an encoder: Transformers' class that loads it, and the rows taken from its output.

`unread_weights` are parts of the names of weights that may be missing, since the rows do not depend on them.
`field` names the part of the model's own output that the rows are taken from. `rows` takes that part for a
padded batch and its mask `[batch, longest]`; the rows are views of one float32 array for the whole batch, in
the CPU's memory.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import AutoModel, AutoModelForSequenceClassification, AutoModelForTokenClassification

from app.models.checkpoint import Checkpoint
from app.models.pooling import pool
from app.models.runner import Row, Task, TokenizedInput


class Embeddings:
    """Pooled and, where the folder says so, normalised hidden states."""

    auto_class: ClassVar[Any] = AutoModel
    field: ClassVar[str] = "last_hidden_state"
    unread_weights: ClassVar[tuple[str, ...]] = ("pooler.",)

    def __init__(self, pooling: Sequence[str], *, normalize: bool) -> None:
        self._pooling = pooling
        self._normalize = normalize

    def rows(self, output: Tensor, mask: Tensor, batch: Sequence[TokenizedInput]) -> list[Row]:
        """`[dimensions]` each."""
        pooled = pool(output, mask, self._pooling)
        if self._normalize:
            pooled = torch.nn.functional.normalize(pooled, dim=1)
        return list(pooled.cpu().numpy())


class SequenceClassification:
    """Text classification and rerank: one logit for each label."""

    auto_class: ClassVar[Any] = AutoModelForSequenceClassification
    field: ClassVar[str] = "logits"
    unread_weights: ClassVar[tuple[str, ...]] = ()

    def rows(self, output: Tensor, mask: Tensor, batch: Sequence[TokenizedInput]) -> list[Row]:
        """`[labels]` each."""
        return list(output.float().cpu().numpy())


class TokenClassification:
    """One logit for each token and label."""

    auto_class: ClassVar[Any] = AutoModelForTokenClassification
    field: ClassVar[str] = "logits"
    unread_weights: ClassVar[tuple[str, ...]] = ()

    def rows(self, output: Tensor, mask: Tensor, batch: Sequence[TokenizedInput]) -> list[Row]:
        """`[tokens, labels]` each, without the padding."""
        logits = output.float().cpu().numpy()
        return [logits[index, : item.tokens] for index, item in enumerate(batch)]


Head = Embeddings | SequenceClassification | TokenClassification


def head_for(checkpoint: Checkpoint) -> Head:
    """The checkpoint's task."""
    match checkpoint.task:
        case Task.EMBEDDINGS:
            return Embeddings(checkpoint.sentence.pooling, normalize=checkpoint.sentence.normalize)
        case Task.TOKEN_CLASSIFICATION:
            return TokenClassification()
        case Task.TEXT_CLASSIFICATION | Task.RERANK:
            return SequenceClassification()
