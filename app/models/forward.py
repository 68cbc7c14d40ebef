"""Which forward pass a model gets: the fastest one that says what Transformers' own, padded one says."""

import logging
import random
from collections.abc import Sequence
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

    def __call__(self, batch: Sequence[TokenizedInput]) -> tuple[Any, Tensor]:
        """The model's own output, laid out in padded rows, and its mask `[batch, longest]`, 1 for tokens."""
        ...


def choose_forward(
    model: PreTrainedModel, head: Head, *, token_types: bool, first_position: int, max_tokens: int
) -> tuple[Forward, bool]:
    """The forward pass, and whether it pads. The model is changed to suit it.

    `token_types` says whether the model is told which text of a pair a token belongs to, and `first_position`
    from where it counts positions. Raises `ModelError` if the model cannot do it at all.
    """
    samples = _samples(model, max_tokens)
    forward: Forward = PaddedForward(model, token_types=token_types)
    try:
        reference = _rows(forward, head, samples)
    except Exception as error:  # whatever it is, no request would fare better
        raise ModelError(
            f"The model cannot read a sample: {type(error).__name__}: {error}. {AGAIN}"
        ) from error
    tolerance = TOLERANCE if model.dtype is torch.float32 else TOLERANCE_OF_HALF
    pads = True
    packed = PackedForward(model, token_types=token_types, first_position=first_position)
    if _agrees("packed", packed, head, samples, reference, tolerance):
        forward, pads = packed, False
    else:
        packed.undo()
    if can_prepack(model.device, model.dtype):
        stock = prepack(model)
        if not _agrees("prepacked", forward, head, samples, reference, tolerance):
            restore(stock)
    return forward, pads


def _samples(model: PreTrainedModel, max_tokens: int) -> list[TokenizedInput]:
    """Inputs of several lengths; the ids are random, but always the same, and none is the padding's."""
    embeddings: Any = model.get_input_embeddings()
    padding = getattr(model.config, "pad_token_id", None)
    ids = [number for number in range(min(embeddings.num_embeddings, 1000)) if number != padding]
    choose = random.Random(0)  # noqa: S311 - no secret
    lengths = [min(length, max_tokens) for length in (5, LONGEST, 17)]
    return [TokenizedInput(choose.choices(ids, k=length), [0] * length) for length in lengths]


def _rows(forward: Forward, head: Head, samples: Sequence[TokenizedInput]) -> list[Row]:
    with torch.inference_mode():
        return head.rows(*forward(samples), samples)


def _agrees(
    name: str,
    forward: Forward,
    head: Head,
    samples: Sequence[TokenizedInput],
    reference: Sequence[Row],
    tolerance: float,
) -> bool:
    """Whether the forward pass gives the reference's rows; if not, the log says by how much or why."""
    try:
        rows = _rows(forward, head, samples)
        off = max(
            float(np.linalg.norm(row - expected) / np.linalg.norm(expected))
            for row, expected in zip(rows, reference, strict=True)
        )
    except Exception as error:  # noqa: BLE001 - whatever it is, this model goes without
        log.warning("forward_unfit", extra={"forward": name, "error": f"{type(error).__name__}: {error}"})
        return False
    if not off <= tolerance:  # NaN is neither
        log.warning("forward_unfit", extra={"forward": name, "error": f"rows are off by {off:.2g}"})
    return off <= tolerance
