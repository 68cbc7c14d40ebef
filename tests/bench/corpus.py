"""The texts that all are asked with."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from tests.texts import texts


def corpus(count: int) -> list[str]:
    """Different texts, many short and a few long: 42 tokens in the mean, at most 256, what MiniLM reads.

    None is longer, since servers differ in where they cut.
    """
    return texts(count, mean=36, longest=231)


def lengths(model: Path, asked: Sequence[str]) -> dict[str, float]:
    """Their tokens, special ones included, by the model's tokenizer."""
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokens = [len(encoding.ids) for encoding in tokenizer.encode_batch(list(asked))]
    quantiles = np.quantile(tokens, (0.5, 0.95))
    return {
        "mean": float(np.mean(tokens)),
        "p50": float(quantiles[0]),
        "p95": float(quantiles[1]),
        "longest": max(tokens),
    }
