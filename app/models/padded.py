"""The padded forward pass: all inputs of a batch brought to the length of its longest."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from app.models.runner import TokenizedInput


class PaddedForward:
    """Calls a Transformers model with a batch of token ids."""

    def __init__(self, model: PreTrainedModel, *, field: str, token_types: bool) -> None:
        """`field` is the part of the model's output that is wanted.

        `token_types` says whether the model is told which text of a pair a token belongs to.
        """
        self._field = field
        self.model = model
        self._token_types = token_types
        self._device = model.device
        self._pad_id = getattr(model.config, "pad_token_id", None) or 0

    def __call__(self, batch: Sequence[TokenizedInput]) -> tuple[Tensor, Tensor]:
        """The field of the output, and the mask `[batch, longest]` of its inputs, int64, 1 for tokens."""
        shape = len(batch), max(item.tokens for item in batch)
        ids = np.full(shape, self._pad_id, dtype=np.int64)
        types = np.zeros(shape, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        for row, item in enumerate(batch):
            ids[row, : item.tokens] = item.ids
            types[row, : item.tokens] = item.type_ids
            mask[row, : item.tokens] = 1
        attention_mask = self._tensor(mask)
        inputs = {"input_ids": self._tensor(ids), "attention_mask": attention_mask}
        if self._token_types:
            inputs["token_type_ids"] = self._tensor(types)
        return getattr(self.model(**inputs), self._field), attention_mask

    def _tensor(self, array: np.ndarray[Any, Any]) -> Tensor:
        return torch.from_numpy(array).to(self._device)
