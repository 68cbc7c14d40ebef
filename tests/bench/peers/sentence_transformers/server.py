"""FastAPI in front of sentence-transformers, in a sync handler."""

import os

from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(os.environ["MODEL"], device="cpu", local_files_only=True)
app = FastAPI()


class Question(BaseModel):
    text: str


class Answer(BaseModel):
    embedding: list[float]


@app.post("/embed")
def embed(question: Question) -> Answer:
    vector = model.encode(question.text, normalize_embeddings=True, show_progress_bar=False)
    return Answer(embedding=vector.tolist())
