"""MLServer: two parallel workers with a thread each, adaptive batching."""

import os

from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from sentence_transformers import SentenceTransformer


class Embedder(MLModel):
    async def load(self) -> bool:
        self.model = SentenceTransformer(os.environ["MODEL"], device="cpu", local_files_only=True)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        texts = StringCodec.decode_input(payload.inputs[0])
        # It sorts by length, so small batches within the batch save padding
        vectors = self.model.encode(texts, batch_size=8, normalize_embeddings=True, show_progress_bar=False)
        output = NumpyCodec.encode_output("embedding", vectors)
        return InferenceResponse(model_name=self.name, outputs=[output])
