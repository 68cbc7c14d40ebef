"""What Transformers and sentence-transformers themselves say: the answers that a client must get."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TEXTS = ["A man is eating food.", "The girl is carrying a baby.", "Ein Mann isst etwas: naïve café 😀"]
LINE = "Angela Merkel met Barack Obama in Berlin."


@cache
def _sentence_transformer(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu")


def embed(folder: Path, texts: list[str]) -> NDArray[np.float32]:
    """By sentence-transformers, `[texts, dimensions]`."""
    vectors: NDArray[np.float32] = _sentence_transformer(folder).encode(texts)
    return vectors


def classify(task: Any, folder: Path, text: str, **options: Any) -> list[dict[str, Any]]:
    """By `transformers.pipeline`."""
    from transformers import pipeline

    found: list[dict[str, Any]] = pipeline(task, model=str(folder), device="cpu")(text, **options)
    return found


def assert_same_vectors(got: Any, expected: NDArray[np.float32]) -> None:
    """Cosine above 0.9999, and of length 1."""
    vectors = np.asarray(got, np.float32)
    assert vectors.shape == expected.shape
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1, rtol=1e-5)
    assert np.min(np.sum(vectors * expected, axis=-1)) > 0.9999
