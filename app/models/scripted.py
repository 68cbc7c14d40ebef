"""What needs a loop over a batch, or an operator that cannot be traced, as functions of TorchScript.

Called from Python they do what stands here; in a traced model they do it without Python. TorchScript is
deprecated for torch.compile, which wants a C++ compiler where it runs.
"""

import warnings
from collections.abc import Callable
from typing import TypeVar, cast

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence

F = TypeVar("F", bound=Callable[..., Tensor])


def _script(function: F) -> F:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return cast(F, torch.jit.script(function))


@_script
def attend_each(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    lengths: Tensor,
    scale: float | None,
    causal: bool,
    window: int,
    grouped: bool,
) -> Tensor:
    """Attention of each input to itself. Returns `[1, tokens, heads, size]`.

    `query`, `key` and `value` are `[1, heads, tokens, size]`, `lengths` `[inputs]` int64. `scale` is that of
    the scores, None for one over the square root of `size`. A token sees `window` tokens to either side,
    itself counted (-1: all), if `causal` only those before it. `grouped` if there are fewer heads of keys.
    """
    sizes: list[int] = lengths.tolist()
    queries, keys, values = (
        torch.split(query, sizes, 2),
        torch.split(key, sizes, 2),
        torch.split(value, sizes, 2),
    )
    parts: list[Tensor] = []
    for index in range(len(sizes)):
        near: Tensor | None = None
        if 0 <= window < sizes[index]:
            position = torch.arange(sizes[index], device=query.device)
            distance = position.unsqueeze(1) - position
            near = (distance < window) & (distance >= 0 if causal else distance > -window)
        part = scaled_dot_product_attention(
            queries[index],
            keys[index],
            values[index],
            near,
            0.0,
            causal and near is None,
            scale=scale,
            enable_gqa=grouped,
        )
        parts.append(part.transpose(1, 2))
    return torch.cat(parts, 1)


@_script
def pad_each(packed: Tensor, lengths: Tensor) -> Tensor:
    """`[1, tokens, size]` as `[inputs, longest, size]`, with zeros for padding; `lengths` is int64."""
    sizes: list[int] = lengths.tolist()
    return pad_sequence(list(torch.split(packed[0], sizes)), batch_first=True)


@_script
def multiply(states: Tensor, weight: Tensor, bias: Tensor | None, after: str, algorithm: str) -> Tensor:
    """The linear layer of oneDNN: `[..., in]` to `[..., out]`, with the weight in its own layout.

    `after` is what else it does to the product, `none` or `gelu`, and `algorithm` how.
    """
    return torch.ops.mkldnn._linear_pointwise(  # type: ignore[no-any-return]
        states, weight, bias, after, [], algorithm
    )
