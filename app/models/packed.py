"""The packed forward pass: the inputs of a batch end to end in one sequence, so that nothing is padded.

Only attention has to know where one input ends and the next begins. Transformers lets a stock model be given
an attention function of one's own, so the model's code stays as it is; positions are counted anew for each
input. What the encoder says is laid out in padded rows before pooling and heads, which take it so.
"""

from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from inspect import signature
from itertools import accumulate, chain, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from app.models.runner import TokenizedInput

NAME = "vitrine_packed"


@dataclass(frozen=True, slots=True)
class Boundaries:
    """Where the inputs of a packed sequence begin and end."""

    lengths: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    """Start and end of each, in tokens."""
    cumulative: Tensor
    """`[inputs + 1]`, int32, on the model's device: what kernels for many lengths take."""

    def padded(self, packed: Tensor) -> Tensor:
        """`[1, tokens, size]` as `[inputs, longest, size]`, with zeros for padding."""
        rows = packed.new_zeros(len(self.lengths), max(self.lengths), packed.shape[-1])
        for row, (start, end) in zip(rows, self.spans, strict=True):
            row[: end - start] = packed[0, start:end]
        return rows


_boundaries: ContextVar[Boundaries] = ContextVar("boundaries")


class PackedForward:
    """Calls a Transformers model with a batch of token ids, all in one row."""

    def __init__(self, model: PreTrainedModel, *, token_types: bool, first_position: int) -> None:
        """Changes how the model attends, until `undo`. Raises ValueError where Transformers cannot.

        `token_types` says whether the model is told which text of a pair a token belongs to, and
        `first_position` from where it counts positions.
        """
        AttentionInterface.register(NAME, _attend)
        AttentionMaskInterface.register(NAME, _no_mask)
        self._stock = model.config._attn_implementation  # noqa: SLF001 - there is no public way to ask
        model.set_attn_implementation(NAME)
        self.model = model
        self._takes_types = "token_type_ids" in signature(model.forward).parameters
        self._token_types = token_types
        self._first_position = first_position
        self._device = model.device
        encoder = model.base_model
        self._hooks = [encoder.register_forward_hook(_unpack_output)]
        if isinstance(pooler := getattr(encoder, "pooler", None), nn.Module):
            self._hooks.append(pooler.register_forward_pre_hook(_unpack_argument))

    def __call__(self, batch: Sequence[TokenizedInput]) -> tuple[Any, Tensor]:
        """What `PaddedForward` returns: the model's own output, and the mask `[batch, longest]`, int64."""
        lengths = tuple(item.tokens for item in batch)
        edges = (0, *accumulate(lengths))
        boundaries = Boundaries(
            lengths,
            tuple(pairwise(edges)),
            torch.tensor(edges, dtype=torch.int32).to(self._device),
        )
        first = self._first_position
        positions = chain.from_iterable(range(first, first + length) for length in lengths)
        inputs = {
            "input_ids": self._row(chain.from_iterable(item.ids for item in batch)),
            "position_ids": self._row(positions),
        }
        if self._token_types:
            inputs["token_type_ids"] = self._row(chain.from_iterable(item.type_ids for item in batch))
        elif self._takes_types:
            inputs["token_type_ids"] = torch.zeros_like(inputs["input_ids"])
        token = _boundaries.set(boundaries)
        try:
            output = self.model(**inputs)
        finally:
            _boundaries.reset(token)
        reach = torch.arange(max(lengths), device=self._device)
        mask = reach < boundaries.cumulative.diff().unsqueeze(1)
        return output, mask.long()

    def undo(self) -> None:
        """Make the model again what it was."""
        for hook in self._hooks:
            hook.remove()
        self.model.set_attn_implementation(self._stock)

    def _row(self, numbers: Iterable[int]) -> Tensor:
        return torch.tensor([list(numbers)]).to(self._device)


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _mask: Tensor | None,
    *,
    scaling: float | None = None,
    is_causal: bool | None = None,
    sliding_window: int | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """Each input attends to itself. `[1, heads, tokens, size]` each; returns `[1, tokens, heads, size]`.

    Takes what Transformers' own attention functions take; `sliding_window` counts the token itself, and
    bounds both sides.
    """
    boundaries = _boundaries.get()
    causal = bool(getattr(module, "is_causal", False)) if is_causal is None else is_causal
    grouped = query.shape[1] != key.shape[1]
    if query.is_cuda:
        behind = -1 if sliding_window is None else sliding_window - 1  # -1 is as far as it goes
        longest = max(boundaries.lengths)
        attended: Any = varlen_attn(
            query[0].transpose(0, 1),
            key[0].transpose(0, 1),
            value[0].transpose(0, 1),
            boundaries.cumulative,
            boundaries.cumulative,
            longest,
            longest,
            scale=scaling,
            window_size=(behind, 0 if causal else behind),
            enable_gqa=grouped,
        )
        return attended.unsqueeze(0), None
    parts = []
    for start, end in boundaries.spans:
        near = None
        if sliding_window is not None and end - start > sliding_window:
            near = _near(end - start, sliding_window, causal=causal, device=query.device)
        part = scaled_dot_product_attention(
            query[:, :, start:end],
            key[:, :, start:end],
            value[:, :, start:end],
            attn_mask=near,
            is_causal=causal and near is None,
            scale=scaling,
            enable_gqa=grouped,
        )
        parts.append(part.transpose(1, 2))
    return torch.cat(parts, dim=1), None


def _near(length: int, window: int, *, causal: bool, device: torch.device) -> Tensor:
    position = torch.arange(length, device=device)
    distance = position.unsqueeze(1) - position
    return (distance >= 0 if causal else distance > -window) & (distance < window)


def _no_mask(*_: object, **__: object) -> None:
    """There is nothing to hide: no padding, and the attention function knows the boundaries."""


def _unpack_output(_module: nn.Module, _arguments: object, output: Any) -> Any:
    output.last_hidden_state = _boundaries.get().padded(output.last_hidden_state)
    return output


def _unpack_argument(_module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (_boundaries.get().padded(arguments[0]), *arguments[1:])
