"""sentence-transformers' layout: the modules that turn an encoder's hidden states into an embedding.

Convention: https://sbert.net/docs/sentence_transformer/usage/custom_models.html, in its old form (a flag for
each pooling mode, max_seq_length in sentence_bert_config.json) and its new one (pooling_mode, the tokenizer's
limit).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import ModelError
from app.models.folder import inside, read_json, transformer_folder

_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
POOLING_MODES = tuple(_FLAGS.values())
_CONFIGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)


@dataclass(frozen=True, slots=True)
class SentenceModules:
    """What follows the encoder. Without a modules.json: the mean of all tokens, normalised."""

    declared: bool = False
    """A modules.json says so."""
    pooling: tuple[str, ...] = ("mean",)
    """Of `POOLING_MODES`; several are concatenated."""
    normalize: bool = True
    """To unit length (L2)."""
    prompt: str = ""
    """Put before each text by default."""
    lower_case: bool = False
    """Texts are lowercased before the tokenizer's own normalisation."""
    max_length: int | None = None
    """In tokens, special ones included."""


def read_sentence_modules(folder: Path) -> SentenceModules:
    """Read modules.json and what it refers to. Raises `ModelError` for a module that Vitrine does not run."""
    encoder = transformer_folder(folder)
    settings: dict[str, Any] = next((found for name in _CONFIGS if (found := read_json(encoder / name))), {})
    lower_case, max_length = bool(settings.get("do_lower_case")), settings.get("max_seq_length")
    paths = _module_paths(folder)
    if "Pooling" not in paths:
        return SentenceModules(lower_case=lower_case, max_length=max_length)
    pooling = read_json(inside(folder, paths["Pooling"]) / "config.json", default={})
    prompt = _default_prompt(folder)
    if prompt and not pooling.get("include_prompt", True):
        raise ModelError(
            "This model leaves its prompt out of the pooling (include_prompt), which Vitrine cannot do."
        )
    return SentenceModules(
        declared=True,
        pooling=_pooling_modes(pooling),
        normalize="Normalize" in paths,
        prompt=prompt,
        lower_case=lower_case,
        max_length=max_length,
    )


def _module_paths(folder: Path) -> dict[str, str]:
    """By the module's class; its package has moved between versions of sentence-transformers."""
    modules = read_json(folder / "modules.json", default=[])
    paths = {module["type"].rsplit(".", 1)[-1]: module["path"] for module in modules}
    if unknown := sorted(paths.keys() - {"Transformer", "Pooling", "Normalize"}):
        raise ModelError(
            f"modules.json asks for the module {unknown[0]}; Vitrine runs Transformer, Pooling and "
            "Normalize only. Take a model without it: leaving it out would give wrong embeddings."
        )
    return paths


def _pooling_modes(config: dict[str, Any]) -> tuple[str, ...]:
    modes = (
        config.get("pooling_mode") or [mode for flag, mode in _FLAGS.items() if config.get(flag)] or "mean"
    )
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    if unknown := sorted(set(modes) - set(POOLING_MODES)):
        raise ModelError(
            f"Unknown pooling mode {unknown[0]!r} in the pooling's config.json; known: {POOLING_MODES}."
        )
    return modes


def _default_prompt(folder: Path) -> str:
    config = read_json(folder / "config_sentence_transformers.json", default={})
    return (config.get("prompts") or {}).get(config.get("default_prompt_name")) or ""
