"""The packed forward pass: the inputs of a batch end to end in one sequence, so that nothing is padded.

Only attention has to know where one input ends and the next begins. Transformers lets a stock model be given
an attention function of one's own, so the model's code stays as it is; positions are counted anew for each
input. What the encoder says is laid out in padded rows before pooling and heads, which take it so.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from functools import cached_property
from inspect import signature
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.utils import logging

from app.models.runner import TokenizedInput
from app.models.scripted import attend_each, pad_each

NAME = "vitrine_packed"


class Boundaries:
    """Where the inputs of a packed sequence begin and end."""

    def __init__(self, lengths: Tensor) -> None:
        """`lengths` `[inputs]`, int64, is on the CPU."""
        self.lengths = lengths

    @cached_property
    def cumulative(self) -> Tensor:
        """`[inputs + 1]`, int32, on the GPU: what its kernels for many lengths take."""
        return nn.functional.pad(self.lengths.cumsum(0), (1, 0)).to(torch.int32).to("cuda")

    @cached_property
    def longest(self) -> int:
        """The most tokens of an input."""
        return int(self.lengths.max())


_boundaries: ContextVar[Boundaries] = ContextVar("boundaries")


class PackedForward:
    """Calls a Transformers model with a batch of token ids, all in one row."""

    def __init__(self, model: PreTrainedModel, *, field: str, token_types: bool, first_position: int) -> None:
        """Changes how the model attends, until `undo`.

        `field` is the part of the model's output that is wanted, `token_types` says whether the model is told
        which text of a pair a token belongs to, and `first_position` from where it counts positions.
        """
        AttentionInterface.register(NAME, _attend)
        AttentionMaskInterface.register(NAME, _no_mask)
        self._stock = model.config._attn_implementation  # noqa: SLF001 - there is no public way to ask
        model.set_attn_implementation(NAME)
        self.model = model
        self._token_types = token_types
        self._first_position = first_position
        self._device = model.device
        self._run: Callable[..., Tensor] = _Packed(model, field)
        encoder = model.base_model
        self._hooks = [encoder.register_forward_hook(_unpack_output)]
        if isinstance(pooler := getattr(encoder, "pooler", None), nn.Module):
            self._hooks.append(pooler.register_forward_pre_hook(_unpack_argument))

    def __call__(self, batch: Sequence[TokenizedInput]) -> tuple[Tensor, Tensor]:
        """What `PaddedForward` returns: the field of the output, and the mask `[batch, longest]`, int64."""
        *inputs, lengths = self._tensors(batch)
        output = self._run(*inputs, lengths)
        mask = torch.arange(int(lengths.max())) < lengths.unsqueeze(1)
        return output, mask.long().to(self._device)

    def traced(self, example: Sequence[TokenizedInput]) -> "PackedForward":
        """The same by what torch records of the model's work on `example`.

        A batch is then one call from Python. Else it is several hundred, and after each the thread waits for
        the interpreter's lock, which the event loop and the other workers want, too.
        """
        with warnings.catch_warnings(), torch.inference_mode(), _silence():
            # That tracing is deprecated (see `scripted`), and of what might not hold for other inputs.
            warnings.simplefilter("ignore")
            graph: Any = torch.jit.trace(  # type: ignore[no-untyped-call]
                self._run, self._tensors(example), check_trace=False, strict=False
            )
        traced = copy(self)
        traced._run = graph  # noqa: SLF001 - of its own class
        return traced

    def undo(self) -> None:
        """Make the model again what it was."""
        for hook in self._hooks:
            hook.remove()
        self.model.set_attn_implementation(self._stock)

    def _tensors(self, batch: Sequence[TokenizedInput]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Token ids, positions and segment ids `[1, tokens]`, and the lengths `[batch]`."""
        lengths = [item.tokens for item in batch]
        first = self._first_position
        ids = self._row(chain.from_iterable(item.ids for item in batch))
        positions = self._row(chain.from_iterable(range(first, first + length) for length in lengths))
        types = torch.zeros_like(ids)
        if self._token_types:
            types = self._row(chain.from_iterable(item.type_ids for item in batch))
        return ids, positions, types, torch.tensor(lengths)

    def _row(self, numbers: Iterable[int]) -> Tensor:
        return torch.tensor([list(numbers)]).to(self._device)


@contextmanager
def _silence() -> Iterator[None]:
    """Tracing reads each attribute of a model, and Transformers complains of what only training needs."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


class _Packed(nn.Module):
    """The model as a function of tensors only, so that it can be traced."""

    def __init__(self, model: PreTrainedModel, field: str) -> None:
        super().__init__()
        self._model = model
        self._field = field
        self._takes_types = "token_type_ids" in signature(model.forward).parameters

    def forward(self, ids: Tensor, positions: Tensor, types: Tensor, lengths: Tensor) -> Tensor:
        """See `PackedForward._tensors`."""
        inputs = {"input_ids": ids, "position_ids": positions}
        if self._takes_types:
            inputs["token_type_ids"] = types
        token = _boundaries.set(Boundaries(lengths))
        try:
            output: Tensor = getattr(self._model(**inputs), self._field)
        finally:
            _boundaries.reset(token)
        return output


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
    if not query.is_cuda:
        window = -1 if sliding_window is None else sliding_window
        return attend_each(query, key, value, boundaries.lengths, scaling, causal, window, grouped), None
    behind = -1 if sliding_window is None else sliding_window - 1  # -1 is as far as it goes
    attended: Any = varlen_attn(
        query[0].transpose(0, 1),
        key[0].transpose(0, 1),
        value[0].transpose(0, 1),
        boundaries.cumulative,
        boundaries.cumulative,
        boundaries.longest,
        boundaries.longest,
        scale=scaling,
        window_size=(behind, 0 if causal else behind),
        enable_gqa=grouped,
    )
    return attended.unsqueeze(0), None


def _no_mask(*_: object, **__: object) -> None:
    """There is nothing to hide: no padding, and the attention function knows the boundaries."""


def _unpack_output(_module: nn.Module, _arguments: object, output: Any) -> Any:
    output.last_hidden_state = pad_each(output.last_hidden_state, _boundaries.get().lengths)
    return output


def _unpack_argument(_module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (pad_each(arguments[0], _boundaries.get().lengths), *arguments[1:])
