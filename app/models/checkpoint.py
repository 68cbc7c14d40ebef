"""What a model folder's JSON files say of the model, read without loading it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, Field, NonNegativeInt

from app.errors import ModelError
from app.models.folder import read_json
from app.models.runner import Task
from app.models.sentence import SentenceModules, read_sentence_modules, transformer_folder

_UNLIMITED = 1_000_000
"""Transformers writes 1e30 as `model_max_length` where a tokenizer has no limit."""


class ModelConfig(BaseModel):
    """The keys of config.json that decide what a model is for."""

    architectures: list[str] | None = None
    id2label: dict[NonNegativeInt, str] | None = None
    num_labels: NonNegativeInt | None = None
    problem_type: str | None = None
    dtype: Annotated[str | None, Field(validation_alias=AliasChoices("dtype", "torch_dtype"))] = None
    transformers_weights: str | None = None
    auto_map: dict[str, str] | None = None

    @property
    def architecture(self) -> str:
        """The first, empty if none is named."""
        return (self.architectures or [""])[0]

    @property
    def labels(self) -> tuple[str, ...]:
        """By class index. Transformers' default is two, named LABEL_0 and LABEL_1."""
        if self.id2label:
            return tuple(name for _, name in sorted(self.id2label.items()))
        return tuple(f"LABEL_{index}" for index in range(self.num_labels or 2))


class _AddedToken(BaseModel):
    content: str


class TokenizerConfig(BaseModel):
    """The keys of tokenizer_config.json that say how texts are read."""

    model_max_length: Annotated[float, Field(gt=0)] | None = None
    truncation_side: Literal["left", "right"] = "right"
    unk_token: str | _AddedToken | None = None
    tokenizer_class: str | None = None
    """Transformers' class; with the next, what decides whether the texts of a pair are told apart."""
    model_input_names: tuple[str, ...] | None = None
    """What the tokenizer makes for the model, where it differs from its class's default."""

    @property
    def max_length(self) -> int | None:
        """In tokens, None if there is no limit."""
        length = self.model_max_length
        return int(length) if length and length < _UNLIMITED else None

    @property
    def unknown(self) -> str | None:
        """The token for what the vocabulary lacks."""
        return self.unk_token.content if isinstance(self.unk_token, _AddedToken) else self.unk_token


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model folder, understood."""

    folder: Path
    """Where config.json, the tokenizer and the weights are."""
    task: Task
    config: ModelConfig
    tokenizer: TokenizerConfig
    sentence: SentenceModules
    """What follows the encoder; used for embeddings only."""

    @property
    def labels(self) -> tuple[str, ...]:
        """By class index; empty for embeddings."""
        return () if self.task is Task.EMBEDDINGS else self.config.labels

    @property
    def multi_label(self) -> bool:
        """Each class is decided by itself."""
        multi = self.config.problem_type == "multi_label_classification"
        return multi and self.task is Task.TEXT_CLASSIFICATION

    @property
    def max_length(self) -> int | None:
        """The longest input in tokens that the folder's files allow; the weights may allow less."""
        return self.sentence.max_length or self.tokenizer.max_length


def read_checkpoint(folder: Path, task: Task | Literal["auto"] = "auto") -> Checkpoint:
    """Read the folder's description. Raises `ModelError` if it asks for what Vitrine does not do."""
    encoder = transformer_folder(folder)
    config = read_json(encoder / "config.json", ModelConfig)
    sentence = read_sentence_modules(folder)
    if task == "auto":
        task = detect_task(config, pools=sentence.declared)
    if config.transformers_weights:
        raise ModelError(
            "config.json names a weights file of its own (transformers_weights): remove that key."
        )
    if task is Task.RERANK and len(config.labels) != 1:
        raise ModelError(
            f"A reranker has one output, this model {len(config.labels)}: set APP_TASK=text-classification."
        )
    if task is Task.TEXT_CLASSIFICATION and config.problem_type == "regression":
        raise ModelError("This model is a regression, whose outputs are no classes. Take a classifier.")
    tokenizer = read_json(encoder / "tokenizer_config.json", TokenizerConfig)
    return Checkpoint(encoder, task, config, tokenizer, sentence)


def detect_task(config: ModelConfig, *, pools: bool) -> Task:
    """The task that a config.json stands for; `pools` says that a sentence-transformers pooling follows."""
    if pools:
        return Task.EMBEDDINGS
    if config.architecture.endswith("ForSequenceClassification"):
        return Task.RERANK if len(config.labels) == 1 else Task.TEXT_CLASSIFICATION
    if config.architecture.endswith("ForTokenClassification"):
        return Task.TOKEN_CLASSIFICATION
    if config.architecture.endswith(("Model", "ForMaskedLM", "ForPreTraining")):
        return Task.EMBEDDINGS
    raise ModelError(
        f"No task for the architecture {config.architecture or '(none in config.json)'}. Vitrine serves "
        "embeddings, text and token classification and rerank; set APP_TASK if this model does one of them."
    )
