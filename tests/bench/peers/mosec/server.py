"""mosec: two workers with a thread each, dynamic batches; within a batch, texts of near lengths together."""

import os

from mosec import Server, Worker
from sentence_transformers import SentenceTransformer


class Embedder(Worker):
    def __init__(self) -> None:
        self.model = SentenceTransformer(os.environ["MODEL"], device="cpu", local_files_only=True)

    def forward(self, data: list[dict[str, str]]) -> list[dict[str, list[float]]]:
        texts = [question["text"] for question in data]
        # It sorts by length, so small batches within the batch save padding
        vectors = self.model.encode(texts, batch_size=8, normalize_embeddings=True, show_progress_bar=False)
        return [{"embedding": vector.tolist()} for vector in vectors]


if __name__ == "__main__":
    server = Server()
    server.append_worker(Embedder, num=2, max_batch_size=32, max_wait_time=1)
    server.run()
