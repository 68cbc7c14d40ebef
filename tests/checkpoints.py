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
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedTokenizerFast,
)
from transformers.utils.logging import disable_progress_bar

Family = Literal["bert", "roberta", "distilbert"]

MAX_TOKENS = 64
EMOTIONS = ("anger", "joy", "surprise")
ENTITIES = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")

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
        max_position_embeddings=MAX_TOKENS + (2 if family == "roberta" else 0),
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,  # large, so that texts differ in their results
        **(_DISTILBERT_SIZE if family == "distilbert" else _SIZE),
        **({"type_vocab_size": 1} if family == "roberta" else {}),
        **settings,
    )
    torch.manual_seed(0)
    model = auto_class.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.3)
    model.save_pretrained(folder)
    return folder


_DISTILBERT_SIZE = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}


def _tokenizer(family: Family) -> PreTrainedTokenizerFast:
    if family == "roberta":
        return _byte_pair()
    return _word_piece()


def _word_piece() -> PreTrainedTokenizerFast:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.train_from_iterator(
        _CORPUS, trainers.WordPieceTrainer(vocab_size=180, special_tokens=special, show_progress=False)
    )
    cls, sep = (backend.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    backend.post_processor = processors.BertProcessing(("[SEP]", sep), ("[CLS]", cls))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=MAX_TOKENS,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def _byte_pair() -> PreTrainedTokenizerFast:
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        _CORPUS,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    bos, eos = (backend.token_to_id(token) for token in ("<s>", "</s>"))
    backend.post_processor = processors.RobertaProcessing(("</s>", eos), ("<s>", bos))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=MAX_TOKENS,
        model_input_names=["input_ids", "attention_mask"],
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        sep_token="</s>",
        pad_token="<pad>",
        cls_token="<s>",
        mask_token="<mask>",
    )
