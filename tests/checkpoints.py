"""Small real checkpoints, written with Transformers' own save_pretrained: random weights from a fixed seed.

Each maker fills the folder that it is given and returns it. They are as good as trained ones wherever a test
compares our results with Transformers' or sentence-transformers' own.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import tokenizers
import torch
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedTokenizerFast,
)
from transformers.utils.logging import disable_progress_bar

Family = Literal["bert", "roberta", "distilbert", "xlm-roberta", "modernbert", "deberta-v2", "qwen3"]

MAX_TOKENS = 64
EMOTIONS = ("anger", "joy", "surprise")
ENTITIES = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")

_DISTILBERT_SIZE = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
_OF_FAMILY: dict[str, dict[str, Any]] = {
    "roberta": {"type_vocab_size": 1},
    "xlm-roberta": {"type_vocab_size": 1},
    # Every other layer looks at the next 4 tokens only
    "modernbert": {"local_attention": 8, "global_attn_every_n_layers": 2},
    "deberta-v2": {
        "relative_attention": True,
        "pos_att_type": ["c2p", "p2c"],
        "position_biased_input": False,
    },
    "qwen3": {"num_key_value_heads": 1, "head_dim": 16},
}
_SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
_CORPUS = (
    "The quick brown fox jumps over the lazy dog near the old bridge in Paris.",
    "Angela Merkel met Barack Obama in Berlin, and they talked about the weather.",
    "A surprising amount of joy and anger went into this wonderful product!",
    "Der Zug nach Zürich fährt um zwölf Uhr; the café serves a naïve résumé.",
    "What is the capital of France? Paris is the capital and largest city of France.",
    "Pack my box with five dozen liquor jugs: 0123456789 (unbelievable).",
)


def embedder(
    folder: Path,
    family: Family = "bert",
    *,
    pooling: str | Sequence[str] | None = "mean",
    normalize: bool = True,
    prompt: str = "",
) -> Path:
    """A sentence-transformers folder as version 6 writes it; with `pooling` None a bare encoder."""
    _save(folder, family, AutoModel)
    if pooling is None:
        return folder
    types = {
        "": "base.modules.transformer.Transformer",
        "1_Pooling": "sentence_transformer.modules.pooling.Pooling",
        "2_Normalize": "base.modules.normalize.Normalize",
    }
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.{kind}"}
        for index, (path, kind) in enumerate(types.items())
    ]
    write_json(folder / "modules.json", modules if normalize else modules[:2])
    write_json(folder / "1_Pooling/config.json", {"embedding_dimension": 32, "pooling_mode": pooling})
    if prompt:
        prompts = {"prompts": {"query": prompt}, "default_prompt_name": "query"}
        write_json(folder / "config_sentence_transformers.json", prompts)
    return folder


def text_classifier(
    folder: Path,
    family: Family = "bert",
    *,
    labels: Sequence[str] = EMOTIONS,
    multi_label: bool = False,
) -> Path:
    """One that tells emotions apart, were it trained."""
    problem = "multi_label_classification" if multi_label else "single_label_classification"
    return _save(
        folder,
        family,
        AutoModelForSequenceClassification,
        id2label=dict(enumerate(labels)),
        problem_type=problem,
    )


def token_classifier(folder: Path, family: Family = "bert", *, labels: Sequence[str] = ENTITIES) -> Path:
    """One with B- and I- labels."""
    return _save(folder, family, AutoModelForTokenClassification, id2label=dict(enumerate(labels)))


def cross_encoder(folder: Path, family: Family = "bert") -> Path:
    """A reranker: one logit for a pair."""
    return _save(folder, family, AutoModelForSequenceClassification, num_labels=1)


def write_json(path: Path, content: Any) -> None:
    """Also makes the folder."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def edit_json(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; None removes one."""
    content = json.loads(path.read_text()) | changes
    write_json(path, {key: value for key, value in content.items() if value is not None})


def _save(folder: Path, family: Family, auto_class: Any, **settings: Any) -> Path:
    disable_progress_bar()  # type: ignore[no-untyped-call]
    tokenizer = _tokenizer(family)
    tokenizer.save_pretrained(folder)
    if "id2label" in settings:
        settings["label2id"] = {label: index for index, label in settings["id2label"].items()}
    config = AutoConfig.for_model(
        family,
        vocab_size=len(tokenizer),
        # RoBERTa counts positions from 2
        max_position_embeddings=MAX_TOKENS + (2 if "roberta" in family else 0),
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.2,
        **(_DISTILBERT_SIZE if family == "distilbert" else _SIZE),
        **_OF_FAMILY.get(family, {}),
        **settings,
    )
    torch.manual_seed(0)
    model = auto_class.from_config(config)
    with torch.no_grad():
        # So that texts and tokens differ in their results as a trained model's do
        model.get_input_embeddings().weight.mul_(8)
        for name, parameter in model.named_parameters():
            if name.endswith("bias") and "classifier" not in name:
                parameter.normal_(std=0.1)
    model.save_pretrained(folder)
    return folder


def _tokenizer(family: Family) -> PreTrainedTokenizerFast:
    if family == "roberta":
        return _byte_pair()
    if family == "xlm-roberta":
        return _unigram()
    return _word_piece(types=family == "bert")


def _word_piece(*, types: bool) -> PreTrainedTokenizerFast:
    """Lowercase characters, and those words that are short; longer ones fall into their characters."""
    words = sorted({word.strip(".,;:!?()") for text in _CORPUS for word in text.lower().split()})
    letters = sorted({letter for text in _CORPUS for letter in text.lower() if letter != " "} - set("üäé"))
    pieces = [
        *letters,
        *(f"##{letter}" for letter in letters),
        *(word for word in words if 1 < len(word) < 6),
    ]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {piece: index for index, piece in enumerate([*special, *pieces])}
    backend = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.post_processor = processors.BertProcessing(
        ("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"])
    )
    return _fast(backend, types=types, pad="[PAD]", unk="[UNK]", cls="[CLS]", sep="[SEP]", mask="[MASK]")


def _byte_pair() -> PreTrainedTokenizerFast:
    """Bytes, and merges that build some words from the left, with the space before them."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    merges: dict[tuple[str, str], None] = {}
    for word in (
        "\u0120the",
        "\u0120Paris",
        "\u0120Berlin",
        "\u0120and",
        "\u0120city",
        "\u0120joy",
        "Angela",
    ):
        for end in range(1, len(word)):
            merges[word[:end], word[end]] = None
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(left + right for left, right in merges)]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys([*special, *pieces]))}
    backend = tokenizers.Tokenizer(models.BPE(vocabulary, list(merges)))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.RobertaProcessing(
        ("</s>", vocabulary["</s>"]), ("<s>", vocabulary["<s>"])
    )
    return _fast(backend, types=False, pad="<pad>", unk="<unk>", cls="<s>", sep="</s>", mask="<mask>")


def _unigram() -> PreTrainedTokenizerFast:
    """Characters, and whole words with the space before them; what it does not know is one unknown token."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    words = sorted({f"\u2581{word.strip('.,;:!?()')}" for text in _CORPUS for word in text.split()})
    letters = sorted({letter for text in _CORPUS for letter in text if letter != " "} | {"\u2581"})
    pieces = [(piece, 0.0) for piece in special] + [
        (piece, -5.0) for piece in dict.fromkeys([*letters, *words])
    ]
    backend = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=3))
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return _fast(backend, types=False, pad="<pad>", unk="<unk>", cls="<s>", sep="</s>", mask="<unk>")


def _fast(backend: tokenizers.Tokenizer, *, types: bool, **special: str) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend,
        model_max_length=MAX_TOKENS,
        model_input_names=["input_ids", *(["token_type_ids"] if types else []), "attention_mask"],
        **{f"{name}_token": token for name, token in special.items()},
    )
