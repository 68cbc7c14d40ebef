"""LitServe: two workers with a thread each, dynamic batches; within one, texts of near lengths together."""

import os

import litserve
from sentence_transformers import SentenceTransformer


class Embedder(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.model = SentenceTransformer(os.environ["MODEL"], device=device, local_files_only=True)

    def decode_request(self, request: dict[str, str]) -> str:
        return request["text"]

    def batch(self, inputs: list[str]) -> list[str]:
        return inputs

    def predict(self, texts: list[str]) -> list[list[float]]:
        # It sorts by length, so small batches within the batch save padding
        vectors = self.model.encode(texts, batch_size=8, normalize_embeddings=True, show_progress_bar=False)
        return vectors.tolist()

    def unbatch(self, output: list[list[float]]) -> list[list[float]]:
        return output

    def encode_response(self, output: list[float]) -> dict[str, list[float]]:
        return {"embedding": output}


if __name__ == "__main__":
    api = Embedder(max_batch_size=32, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=2)
    server.run(host="127.0.0.1", port=int(os.environ["PORT"]), num_api_servers=1, generate_client_file=False)
