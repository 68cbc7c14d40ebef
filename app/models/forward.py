"""Which forward pass a model gets: the fastest one that says what Transformers' own, padded one says."""

import logging
import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from app.errors import ModelError
from app.models.folder import AGAIN
from app.models.packed import PackedForward
from app.models.padded import PaddedForward
from app.models.prepacked import can_prepack, prepack, restore
from app.models.runner import Row, TokenizedInput
from app.models.tasks import Head

log = logging.getLogger(__name__)

LONGEST = 600
"""Tokens of the longest sample: more than the usual windows of local attention, and than 512 positions."""

TOLERANCE = 1e-3
TOLERANCE_OF_HALF = 0.05
"""How far a row may be off, as a share of its Euclidean length: in float32, and in half precision."""


class Forward(Protocol):
    """A forward pass."""

    model: PreTrainedModel

    def __call__(self, batch: Sequence[TokenizedInput]) -> tuple[Tensor, Tensor]:
        """What the head wants of the model's output, in padded rows, and its mask `[batch, longest]`."""
        ...


def choose_forward(
    model: PreTrainedModel, head: Head, *, token_types: bool, first_position: int, max_tokens: int
) -> tuple[Forward, bool]:
    """The forward pass, and whether it pads. The model is changed to suit it.

    `token_types` says whether the model is told which text of a pair a token belongs to, and `first_position`
    from where it counts positions. Raises `ModelError` if the model cannot do it at all.
    """
    samples = _samples(model, max_tokens)
    padded: Forward = PaddedForward(model, field=head.field, token_types=token_types)
    check = _Check(head, samples, padded)
    packed = PackedForward(model, field=head.field, token_types=token_types, first_position=first_position)
    pads = not check.agrees("packed", lambda: packed)
    if pads:
        packed.undo()
    forward = padded if pads else packed
    if can_prepack(model.device, model.dtype):
        stock = prepack(model)
        if not check.agrees("prepacked", lambda: forward):
            restore(stock)
        elif not pads:
            # On two inputs, and it must then give all three's rows.
            forward = check.agrees("traced", lambda: packed.traced(samples[:2])) or forward
    return forward, pads


def _samples(model: PreTrainedModel, max_tokens: int) -> list[TokenizedInput]:
    """Inputs of several lengths; the ids are random, but always the same, and none is the padding's."""
    embeddings: Any = model.get_input_embeddings()
    padding = getattr(model.config, "pad_token_id", None)
    ids = [number for number in range(min(embeddings.num_embeddings, 1000)) if number != padding]
    choose = random.Random(0)  # noqa: S311 - no secret
    lengths = [min(length, max_tokens) for length in (5, LONGEST, 17)]
    return [TokenizedInput(choose.choices(ids, k=length), [0] * length) for length in lengths]


class _Check:
    """What Transformers' own way of computing says of some inputs, to compare others with."""

    def __init__(self, head: Head, samples: Sequence[TokenizedInput], stock: Forward) -> None:
        """Raises `ModelError` if even the `stock` way fails."""
        self._head = head
        self._samples = samples
        self._tolerance = TOLERANCE if stock.model.dtype is torch.float32 else TOLERANCE_OF_HALF
        try:
            self._reference = self._rows(stock)
        except Exception as error:  # whatever it is, no request would fare better
            reason = f"{type(error).__name__}: {error}"
            raise ModelError(f"The model cannot read a sample: {reason}. {AGAIN}") from error

    def agrees(self, name: str, forward: Callable[[], Forward]) -> Forward | None:
        """The forward pass if it gives the same rows; if not, the log says how far they are off, or why."""
        try:
            rows = self._rows(candidate := forward())
            off = max(
                float(np.linalg.norm(row - expected) / np.linalg.norm(expected))
                for row, expected in zip(rows, self._reference, strict=True)
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, this model goes without
            reason = f"{type(error).__name__}: {error}"
        else:
            if off <= self._tolerance:
                return candidate
            reason = f"rows are off by {off:.2g}"
        log.warning("forward_unfit", extra={"forward": name, "error": reason})
        return None

    def _rows(self, forward: Forward) -> list[Row]:
        with torch.inference_mode():
            return self._head.rows(*forward(self._samples), self._samples)
