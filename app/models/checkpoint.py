"""What a model folder's JSON files say of the model, read without loading it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from app.errors import ModelError
from app.models.folder import read_json, transformer_folder
from app.models.runner import Task
from app.models.sentence import SentenceModules, read_sentence_modules

_UNLIMITED = 1_000_000
"""Transformers writes 1e30 as `model_max_length` where a tokenizer has no limit."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model folder, understood."""

    folder: Path
    """Where config.json, the tokenizer and the weights are."""
    architecture: str
    task: Task
    labels: tuple[str, ...]
    """By class index; empty for embeddings."""
    multi_label: bool
    sentence: SentenceModules
    """What follows the encoder; used for embeddings only."""
    max_length: int | None
    """The longest input in tokens that the tokenizer's files allow; the weights may allow less."""
    truncation_side: Literal["left", "right"]
    unk_token: str | None
    tokenizer_class: str | None
    """Transformers' class; with the next, what decides whether the texts of a pair are told apart."""
    model_inputs: tuple[str, ...] | None
    """What the tokenizer makes for the model, where it differs from its class's default."""
    dtype: str
    """The type that the weights were saved in, as config.json says."""


def read_checkpoint(folder: Path, task: Task | Literal["auto"] = "auto") -> Checkpoint:
    """Read the folder's description. Raises `ModelError` if it asks for what Vitrine does not do."""
    encoder = transformer_folder(folder)
    config = read_json(encoder / "config.json")
    if not isinstance(config, dict):
        raise ModelError(
            f"{folder.name} has no usable config.json: expected an object with the model's settings."
        )
    if "transformers_weights" in config:
        raise ModelError(
            "config.json names a weights file of its own (transformers_weights); remove that key."
        )
    sentence = read_sentence_modules(folder)
    found = detect_task(config, pools=sentence.declared) if task == "auto" else task
    labels = _labels(config) if found is not Task.EMBEDDINGS else ()
    problem = config.get("problem_type")
    if found is Task.RERANK and len(labels) != 1:
        raise ModelError(
            f"A reranker has one output, this model has {len(labels)}: set APP_TASK=text-classification."
        )
    if found is Task.TEXT_CLASSIFICATION and problem == "regression":
        raise ModelError(
            "This model is a regression, whose outputs are no classes; it cannot classify texts."
        )
    tokenizer = read_json(encoder / "tokenizer_config.json", default={})
    unk, inputs = tokenizer.get("unk_token"), tokenizer.get("model_input_names")
    return Checkpoint(
        folder=encoder,
        architecture=_architecture(config),
        task=found,
        labels=labels,
        multi_label=found is Task.TEXT_CLASSIFICATION and problem == "multi_label_classification",
        sentence=sentence,
        max_length=sentence.max_length or _max_length(tokenizer),
        truncation_side="left" if tokenizer.get("truncation_side") == "left" else "right",
        unk_token=unk.get("content") if isinstance(unk, dict) else unk,
        tokenizer_class=tokenizer.get("tokenizer_class"),
        model_inputs=None if inputs is None else tuple(inputs),
        dtype=str(config.get("dtype") or config.get("torch_dtype") or "float32"),
    )


def detect_task(config: dict[str, Any], *, pools: bool) -> Task:
    """The task that a config.json stands for; `pools` says that a sentence-transformers pooling follows."""
    architecture = _architecture(config)
    if pools:
        return Task.EMBEDDINGS
    if architecture.endswith("ForSequenceClassification"):
        return Task.RERANK if len(_labels(config)) == 1 else Task.TEXT_CLASSIFICATION
    if architecture.endswith("ForTokenClassification"):
        return Task.TOKEN_CLASSIFICATION
    if architecture.endswith(("Model", "ForMaskedLM", "ForPreTraining")):
        return Task.EMBEDDINGS
    raise ModelError(
        f"No task for the architecture {architecture or '(none named in config.json)'}. Vitrine serves "
        "embeddings, text and token classification and rerank; set APP_TASK if this model does one of them."
    )


def _architecture(config: dict[str, Any]) -> str:
    return str((config.get("architectures") or [""])[0])


def _labels(config: dict[str, Any]) -> tuple[str, ...]:
    """By class index. Transformers' default is two, named LABEL_0 and LABEL_1."""
    names = config.get("id2label")
    if names:
        return tuple(str(names[key]) for key in sorted(names, key=int))
    return tuple(f"LABEL_{index}" for index in range(config.get("num_labels") or 2))


def _max_length(tokenizer: dict[str, Any]) -> int | None:
    length = tokenizer.get("model_max_length")
    return int(length) if length and length < _UNLIMITED else None
