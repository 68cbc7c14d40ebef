"""Whether answers are right: each text's own vector, as sentence-transformers has it from the same files."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.bench.contenders import Contender

LEAST_COSINE = 0.999


class WrongAnswers(Exception):
    """A server whose speed means nothing."""


@dataclass(frozen=True)
class Reference:
    """The vectors of all texts, normalised, `[texts, dimensions]`."""

    vectors: NDArray[np.float32]

    @classmethod
    def of(cls, model: Path, texts: Sequence[str]) -> "Reference":
        """Computed by sentence-transformers in float32."""
        from sentence_transformers import SentenceTransformer

        reference = SentenceTransformer(str(model), device="cpu", local_files_only=True)
        return cls(np.asarray(reference.encode(list(texts), normalize_embeddings=True), np.float32))

    def least_cosine(self, contender: Contender, kept: Sequence[tuple[int, bytes]]) -> float:
        """The cosine of the worst answer to its text's vector.

        Raises `WrongAnswers` if it is not above `LEAST_COSINE`, or an answer is nearer to another text.
        """
        if not kept:
            raise WrongAnswers("no good answer at all")
        numbers = [number for number, _ in kept]
        answers = np.array([contender.vector(json.loads(body)) for _, body in kept], np.float32)
        answers /= np.linalg.norm(answers, axis=1, keepdims=True)
        cosines = answers @ self.vectors.T
        own = cosines[np.arange(len(numbers)), numbers]
        if own.min() <= LEAST_COSINE:
            raise WrongAnswers(f"a text's answer has a cosine of {own.min():.4f} to its vector")
        if not (own >= cosines.max(axis=1) - 1e-6).all():
            raise WrongAnswers("a text was answered with another's vector")
        return float(own.min())
