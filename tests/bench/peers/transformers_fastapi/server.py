"""FastAPI in front of Transformers' pipeline, as tutorials show it.

`uvicorn server:sync` runs the model on the thread pool, `uvicorn server:one_at_a_time` on the event loop.
"""

import os

import torch
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
extract = pipeline("feature-extraction", model=os.environ["MODEL"], device="cpu")


class Question(BaseModel):
    text: str


class Answer(BaseModel):
    embedding: list[float]


def embed(question: Question) -> Answer:
    tokens = extract(
        question.text, return_tensors=True, tokenize_kwargs={"truncation": True, "max_length": 256}
    )
    vector = torch.nn.functional.normalize(tokens[0].mean(dim=0), dim=0)
    return Answer(embedding=vector.tolist())


sync = FastAPI()
sync.post("/embed")(embed)

one_at_a_time = FastAPI()


@one_at_a_time.post("/embed")
async def embed_on_the_loop(question: Question) -> Answer:
    return embed(question)
