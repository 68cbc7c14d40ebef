"""Ray Serve: two replicas with a thread each, dynamic batches."""

import os

import ray
from ray import serve
from sentence_transformers import SentenceTransformer
from starlette.requests import Request


@serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 1}, max_ongoing_requests=64)
class Embedder:
    def __init__(self) -> None:
        self.model = SentenceTransformer(os.environ["MODEL"], device="cpu", local_files_only=True)

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.001)
    async def embed(self, texts: list[str]) -> list[list[float]]:
        # It sorts by length, so small batches within the batch save padding
        vectors = self.model.encode(texts, batch_size=8, normalize_embeddings=True, show_progress_bar=False)
        return vectors.tolist()

    async def __call__(self, request: Request) -> dict[str, list[float]]:
        question = await request.json()
        return {"embedding": await self.embed(question["text"])}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])})
    serve.run(Embedder.bind(), route_prefix="/embed", blocking=True)
