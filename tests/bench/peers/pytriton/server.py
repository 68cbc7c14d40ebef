"""Triton through PyTriton: two instances with a thread each, Triton's dynamic batcher."""

import os

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig
from sentence_transformers import SentenceTransformer


class Embedder:
    def __init__(self) -> None:
        self.model = SentenceTransformer(os.environ["MODEL"], device="cpu", local_files_only=True)

    @batch
    def __call__(self, text: np.ndarray) -> dict[str, np.ndarray]:
        texts = [one.decode() for one in text[:, 0]]
        # It sorts by length, so small batches within the batch save padding
        vectors = self.model.encode(texts, batch_size=8, normalize_embeddings=True, show_progress_bar=False)
        return {"embedding": vectors}


if __name__ == "__main__":
    port = int(os.environ["PORT"])
    ports = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2}
    with Triton(config=TritonConfig(http_address="127.0.0.1", **ports)) as triton:
        triton.bind(
            model_name="minilm",
            infer_func=[Embedder(), Embedder()],
            inputs=[Tensor(name="text", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="embedding", dtype=np.float32, shape=(384,))],
            config=ModelConfig(max_batch_size=32, batcher=DynamicBatcher(max_queue_delay_microseconds=1000)),
        )
        triton.serve()
