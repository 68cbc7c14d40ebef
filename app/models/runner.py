"""What the serving core knows of a model: it turns inputs into token ids, and batches of those into rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Task(StrEnum):
    """What a model does. The values are the Hugging Face hub's pipeline tags, some shortened."""

    EMBEDDINGS = "embeddings"
    TEXT_CLASSIFICATION = "text-classification"
    TOKEN_CLASSIFICATION = "token-classification"  # noqa: S105 - a task, not a credential
    RERANK = "rerank"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A loaded model, as the info routes and the labels of metrics show it."""

    name: str
    """The public name, that requests use."""
    task: Task
    source: str
    """The folder's last part or the hub id; never a path of the host."""
    revision: str | None
    architecture: str
    device: str
    dtype: str
    max_tokens: int
    """The longest input in tokens, special tokens included."""
    dimensions: int | None
    """The length of an embedding; None for other tasks."""
    labels: tuple[str, ...] = ()
    """By class index; empty for embeddings."""
    multi_label: bool = False
    """Classes are independent (sigmoid) rather than exclusive (softmax)."""
    pads: bool = True
    """A batch is brought to the length of its longest input; if not, its inputs are packed end to end."""


@dataclass(frozen=True, slots=True)
class TextInput:
    """One text, or two that the model reads as a pair (a query and a document for rerank)."""

    text: str
    pair: str | None = None


@dataclass(frozen=True, slots=True)
class TokenIdsInput:
    """One input that the caller tokenized with this model's own vocabulary, without special tokens."""

    ids: tuple[int, ...]


Input = TextInput | TokenIdsInput


@dataclass(frozen=True, slots=True, eq=False)
class TokenizedInput:
    """One input as the model reads it."""

    ids: Sequence[int]
    """Token ids, special tokens included; its length is what queue, batches and admission count."""
    type_ids: Sequence[int]
    """Segment ids, of the same length as `ids`."""
    truncated: bool = False
    text: str = ""
    """The text that `offsets` point into; empty unless the task is token classification."""
    offsets: Sequence[tuple[int, int]] = ()
    """Start and end in characters of `text` for each token; empty unless the task is token classification."""
    special: Sequence[int] = ()
    """1 for special tokens; empty unless the task is token classification."""
    words: Sequence[int | None] = ()
    """The index of the word that each token is part of; empty unless the task is token classification."""

    @property
    def tokens(self) -> int:
        """The length in tokens."""
        return len(self.ids)


Row = NDArray[np.float32]
"""What the model says of one input, float32, before any interpretation: embeddings `[dimensions]`, already
normalised where the model folder says so; text classification logits `[labels]`; rerank logit `[1]`; token
classification logits `[tokens, labels]`."""


class ModelRunner(Protocol):
    """A model on its device.

    `load` and `warm_up` come first; `tokenize` is then called from one thread, and `run` from `concurrency`
    others.
    """

    @property
    def concurrency(self) -> int:
        """How many batches run side by side."""
        ...

    @property
    def info(self) -> ModelInfo:
        """Known once `load` has returned."""
        ...

    @property
    def batch_tokens(self) -> int:
        """The tokens from which on a larger batch is no faster; known once `warm_up` has returned."""
        ...

    def load(self) -> None:
        """Verify and load the weights. Raises `ModelError` or `DeviceUnavailable`."""
        ...

    def warm_up(self) -> None:
        """Run batches of several shapes, so that the first request finds the machine warm."""
        ...

    def tokenize(self, inputs: Sequence[Input], *, truncate: bool) -> list[TokenizedInput]:
        """Raises `InputTooLong` (unless `truncate`) and `InvalidInput`, `field` being the input's index."""
        ...

    def run(self, batch: Sequence[TokenizedInput], *, alone: bool = False) -> list[Row]:
        """One forward pass over the whole batch: a row for each input, in order.

        `alone` says that no other batch runs or waits, so that this one may have all cores.

        Raises `OutOfMemory` if it does not fit, `DeviceLost` if no later batch can succeed either, and
        anything else if some input of the batch cannot be computed.
        """
        ...
