"""Transformers' `from_pretrained`, held to what a server may trust: no pickle, code or made-up weight."""

import inspect
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES, tokenizer_class_from_name
from transformers.utils import logging

from app.errors import DeviceUnavailable, ModelError
from app.models.checkpoint import Checkpoint
from app.models.folder import AGAIN
from app.models.tasks import Head


def load_model(
    checkpoint: Checkpoint, head: Head, *, device: torch.device, dtype: torch.dtype
) -> PreTrainedModel:
    """The model with its head, on the device. Raises `ModelError` or `DeviceUnavailable`."""
    _take_over_output()
    model: PreTrainedModel
    try:
        model, report = head.auto_class.from_pretrained(
            checkpoint.folder,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
        if missing := sorted(key for key in report["missing_keys"] if not _unread(key, head)):
            raise ModelError(
                f"The weights lack {len(missing)} of the tensors that {type(model).__name__} needs, such as "
                f"{missing[0]}; Transformers would make them up at random. Take a checkpoint trained for "
                f"{checkpoint.task}, or set APP_TASK to what this one was trained for."
            )
        model.config.use_cache = False  # of keys and values, which only generating needs
        nn.Module.to(model, device)
        return model
    except torch.OutOfMemoryError as error:
        raise DeviceUnavailable(
            f"The model does not fit into the memory of {device}: free some, or choose a smaller APP_DTYPE."
        ) from error
    except ModelError:
        raise
    except Exception as error:  # whatever it is, this folder cannot be served
        raise ModelError(f"Transformers cannot load the model: {_reason(checkpoint, error)}") from error


@dataclass(frozen=True, slots=True)
class Positions:
    """How a model numbers the positions of a text's tokens."""

    first: int
    limit: int | None
    """How many tokens the model has position embeddings for; None if positions are computed."""


def positions(model: PreTrainedModel) -> Positions:
    """Mostly they count from 0; RoBERTa and its kin count from `padding_idx + 1`, so they have fewer."""
    first = 0
    for module in model.modules():
        table = getattr(module, "position_embeddings", None)
        if isinstance(table, nn.Embedding) and table.padding_idx is not None:
            first = table.padding_idx + 1
    try:
        size: int | None = model.config.max_position_embeddings
    except (AttributeError, NotImplementedError):  # the latter is XLNet's
        size = None
    return Positions(first, size - first if size and size > 0 else None)


def reads_token_types(checkpoint: Checkpoint, model: PreTrainedModel) -> bool:
    """Whether the model learns which text of a pair a token is of: if both it and its tokenizer do types."""
    if "token_type_ids" not in inspect.signature(model.forward).parameters:
        return False
    if getattr(model.config, "type_vocab_size", 0) < 2:
        return False
    name = checkpoint.tokenizer.tokenizer_class or TOKENIZER_MAPPING_NAMES.get(model.config.model_type) or ""
    tokenizer = tokenizer_class_from_name(name) or PreTrainedTokenizerBase
    return "token_type_ids" in (checkpoint.tokenizer.model_input_names or tokenizer.model_input_names)


def _take_over_output() -> None:
    """Transformers draws bars and has a log handler of its own; its lines shall go the way of all others."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.disable_default_handler()
    logging.enable_propagation()


def _unread(key: str, head: Head) -> bool:
    return any(part in key for part in head.unread_weights)


def _reason(checkpoint: Checkpoint, error: Exception) -> str:
    if code := checkpoint.config.auto_map:
        return (
            f"it needs code from its repository ({', '.join(code.values())}), which Vitrine never runs. "
            "Take a model whose architecture Transformers knows itself."
        )
    return f"{type(error).__name__}: {error} {AGAIN}"
