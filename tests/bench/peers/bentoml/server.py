"""BentoML: two workers with a thread each, adaptive batching."""

import os

import bentoml
import numpy as np
from sentence_transformers import SentenceTransformer


@bentoml.service(workers=2, traffic={"timeout": 60})
class Embedder:
    def __init__(self) -> None:
        self.model = SentenceTransformer(os.environ["MODEL"], device="cpu", local_files_only=True)

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=10_000)
    def embed(self, texts: list[str]) -> np.ndarray:
        # It sorts by length, so small batches within the batch save padding
        return self.model.encode(texts, batch_size=8, normalize_embeddings=True, show_progress_bar=False)
