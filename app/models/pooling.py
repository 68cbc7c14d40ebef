"""From hidden states of tokens to one vector for each text; formulas of sentence-transformers' Pooling."""

from collections.abc import Sequence

import torch
from torch import Tensor


def pool(hidden: Tensor, mask: Tensor, modes: Sequence[str]) -> Tensor:
    """Pool `hidden` `[batch, tokens, size]` to `[batch, size * len(modes)]`, float32.

    `mask` `[batch, tokens]` is 1 for real tokens and 0 for padding, which is on the right. Modes are those of
    `app.models.sentence.POOLING_MODES`.
    """
    hidden = hidden.float()
    pooled = [_pool(hidden, mask, mode) for mode in modes]
    return pooled[0] if len(pooled) == 1 else torch.cat(pooled, dim=1)


def _pool(hidden: Tensor, mask: Tensor, mode: str) -> Tensor:
    if mode == "cls":
        return hidden[:, 0]
    lengths = mask.sum(dim=1)
    if mode == "lasttoken":
        return hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1]
    if mode == "max":
        return hidden.masked_fill(mask.unsqueeze(-1) == 0, float("-inf")).amax(dim=1)
    weights = mask.float()
    if mode == "weightedmean":
        weights = weights * torch.arange(1, mask.shape[1] + 1, device=mask.device)
    total = torch.bmm(weights.unsqueeze(1), hidden).squeeze(1)
    size = weights.sum(dim=1, keepdim=True)
    return total / (size.sqrt() if mode == "mean_sqrt_len_tokens" else size)
