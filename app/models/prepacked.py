"""Linear layers with their weights in the layout that oneDNN multiplies fastest.

torch multiplies float32 matrices with MKL. On AMD's with AVX-512 oneDNN is more than twice as fast, with the
same precision (docs/adr/0002); in bfloat16 it is spared bringing the weights into its layout with each call.
The operators are those that torch's own compiler makes of a frozen model's layers.
"""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import GELUActivation

from app.models.scripted import multiply

FOLLOWED_BY_GELU = {"dense": "intermediate_act_fn", "lin1": "activation"}
"""Names of a linear layer and of what follows it in the same module, in BERT's and DistilBERT's kin."""


class PrepackedLinear(nn.Module):
    """`nn.Linear`, for inference on the CPU, and GELU after it where that is wanted."""

    def __init__(self, stock: nn.Linear, *, gelu: bool) -> None:
        super().__init__()
        self._weight: Tensor
        self._bias: Tensor | None
        # Not persistent: torch cannot save this layout, and nobody asks it to.
        weight = torch.ops.mkldnn._reorder_linear_weight(stock.weight.data)
        self.register_buffer("_weight", weight, persistent=False)
        bias: nn.Parameter | None = stock.bias
        self.register_buffer("_bias", None if bias is None else bias.data, persistent=False)
        self._after = ("gelu", "none") if gelu else ("none", "")

    def forward(self, states: Tensor) -> Tensor:
        """`[..., in]` to `[..., out]`."""
        return multiply(states, self._weight, self._bias, *self._after)


Stock = list[tuple[nn.Module, str, nn.Module]]
"""Layers as they were: whose they are, their name there, and they themselves."""


def prepack(model: PreTrainedModel) -> Stock:
    """Exchange the model's linear layers; with what is returned, `restore` brings them back."""
    stock: Stock = []
    linears = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear
    ]
    with torch.inference_mode():
        for parent, name, layer in linears:
            activation = FOLLOWED_BY_GELU.get(name, "")
            gelu = isinstance(following := getattr(parent, activation, None), GELUActivation)
            setattr(parent, name, PrepackedLinear(layer, gelu=gelu))
            stock.append((parent, name, layer))
            if isinstance(following, GELUActivation):
                setattr(parent, activation, nn.Identity())
                stock.append((parent, activation, following))
    return stock


def restore(stock: Stock) -> None:
    """Undo `prepack`."""
    for parent, name, layer in stock:
        setattr(parent, name, layer)


def can_prepack(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether oneDNN does it here: on the CPU, in bfloat16 only where the processor does."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if dtype is torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype is torch.float32
