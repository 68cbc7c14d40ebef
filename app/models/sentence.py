"""sentence-transformers' layout: the modules that turn an encoder's hidden states into an embedding.

Convention: https://sbert.net/docs/sentence_transformer/usage/custom_models.html, in its old form (a flag for
each pooling mode, max_seq_length in sentence_bert_config.json) and its new one (pooling_mode, the tokenizer's
limit).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, PositiveInt, RootModel

from app.errors import ModelError
from app.models.folder import inside, read_json

PoolingMode = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
POOLING_MODES: tuple[PoolingMode, ...] = get_args(PoolingMode)

_CONFIGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)


@dataclass(frozen=True, slots=True)
class SentenceModules:
    """What follows the encoder. Without a modules.json: the mean of all tokens, normalised."""

    declared: bool = False
    """A modules.json says so."""
    pooling: tuple[PoolingMode, ...] = ("mean",)
    """Several are concatenated."""
    normalize: bool = True
    """To unit length (L2)."""
    prompt: str = ""
    """Put before each text by default."""
    lower_case: bool = False
    """Texts are lowercased before the tokenizer's own normalisation."""
    max_length: int | None = None
    """In tokens, special ones included."""


class _Module(BaseModel):
    type: str
    path: str


class _Modules(RootModel[list[_Module]]):
    root: list[_Module] = []


class _Transformer(BaseModel):
    max_seq_length: PositiveInt | None = None
    do_lower_case: bool = False


class _Pooling(BaseModel):
    pooling_mode: PoolingMode | tuple[PoolingMode, ...] | None = None
    pooling_mode_cls_token: bool = False
    pooling_mode_max_tokens: bool = False
    pooling_mode_mean_tokens: bool = False
    pooling_mode_mean_sqrt_len_tokens: bool = False
    pooling_mode_weightedmean_tokens: bool = False
    pooling_mode_lasttoken: bool = False
    include_prompt: bool = True

    def modes(self) -> tuple[PoolingMode, ...]:
        """In the new form, or else in the old one, whose order is that of the concatenation."""
        if isinstance(self.pooling_mode, str):
            return (self.pooling_mode,)
        flags = (
            self.pooling_mode_cls_token,
            self.pooling_mode_max_tokens,
            self.pooling_mode_mean_tokens,
            self.pooling_mode_mean_sqrt_len_tokens,
            self.pooling_mode_weightedmean_tokens,
            self.pooling_mode_lasttoken,
        )
        flagged = tuple(mode for mode, on in zip(POOLING_MODES, flags, strict=True) if on)
        return self.pooling_mode or flagged or ("mean",)


class _Prompts(BaseModel):
    prompts: dict[str, str | None] = {}
    default_prompt_name: str | None = None


def read_modules(folder: Path) -> dict[str, Path]:
    """The folder of each module in modules.json by its class, empty if there is no such file.

    Only the class's own name counts, since its package has moved between versions. Raises `ModelError`.
    """
    modules = read_json(folder / "modules.json", _Modules).root
    return {module.type.rsplit(".", 1)[-1]: inside(folder, module.path) for module in modules}


def transformer_folder(folder: Path) -> Path:
    """Where config.json and the weights are: the folder itself, or a part that modules.json names."""
    return read_modules(folder).get("Transformer", folder)


def read_sentence_modules(folder: Path) -> SentenceModules:
    """Read modules.json and what it refers to. Raises `ModelError` for what Vitrine does not do."""
    modules = read_modules(folder)
    if unknown := sorted(modules.keys() - {"Transformer", "Pooling", "Normalize"}):
        raise ModelError(
            f"modules.json asks for the module {unknown[0]}; Vitrine runs Transformer, Pooling and "
            "Normalize only. Take a model without it: leaving it out would give wrong embeddings."
        )
    encoder = transformer_folder(folder)
    config = next((encoder / name for name in _CONFIGS if (encoder / name).exists()), encoder / _CONFIGS[0])
    texts = read_json(config, _Transformer)
    if "Pooling" not in modules:
        return SentenceModules(lower_case=texts.do_lower_case, max_length=texts.max_seq_length)
    pooling = read_json(modules["Pooling"] / "config.json", _Pooling)
    prompts = read_json(folder / "config_sentence_transformers.json", _Prompts)
    prompt = prompts.prompts.get(prompts.default_prompt_name or "") or ""
    if prompt and not pooling.include_prompt:
        raise ModelError(
            "This model leaves its prompt out of the pooling (include_prompt), which Vitrine cannot do. "
            "Take a model that does not."
        )
    return SentenceModules(
        declared=True,
        pooling=pooling.modes(),
        normalize="Normalize" in modules,
        prompt=prompt,
        lower_case=texts.do_lower_case,
        max_length=texts.max_seq_length,
    )
