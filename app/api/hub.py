"""The API of Hugging Face's own inference servers: one route, which does what the model does.

`huggingface_hub.InferenceClient` posts to it when it is given this server's address as its model.
"""

from typing import Any, ClassVar

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.endpoint import Body, JsonRoute, infer, inference_of, json_response
from app.api.errors import HuggingFaceError, error_responses
from app.api.hugging_face import (
    EmbedRequest,
    Predictions,
    PredictRequest,
    Rank,
    RerankRequest,
    Truncating,
    embed,
    predict_all,
    rerank,
)
from app.api.rows import vectors
from app.inference import Answer
from app.models.runner import Task, TextInput

router = APIRouter(tags=["Hugging Face"], route_class=JsonRoute)


class Similarity(BaseModel):
    """A sentence, and those to compare it with."""

    model_config = ConfigDict(strict=True)

    source_sentence: str
    sentences: list[str] = Field(min_length=1)


class SimilarityRequest(Truncating):
    """Sentences to compare."""

    task: ClassVar[Task | None] = Task.EMBEDDINGS

    inputs: Similarity


class PipelineRequest(Body):
    """The body of the route for the model's task, with all fields in it or some apart in `parameters`."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [{"inputs": "I like you.", "parameters": {}}, {"inputs": "I like you."}]
        },
    )

    inputs: Any = None
    parameters: dict[str, Any] | None = None


@router.post(
    "/",
    response_model=list[float] | list[list[float]] | Predictions | list[Rank],
    responses=error_responses(HuggingFaceError),
)
async def pipeline(request: Request, body: PipelineRequest) -> Response:
    """Do what the model does."""
    parameters = body.parameters or {}
    document = {**(body.model_extra or {}), **parameters, "inputs": body.inputs}
    match inference_of(request).info.task:
        case Task.EMBEDDINGS if isinstance(body.inputs, dict):
            return await similarity(request, SimilarityRequest.parse(document))
        case Task.EMBEDDINGS:
            return await embed(request, EmbedRequest.parse(document))
        case Task.RERANK:
            return await rerank(request, RerankRequest.parse(document))
        case task:
            predicting = PredictRequest.parse(document)
            # The hub's servers put a list around one text's labels, yet none around its entities.
            listed = task is Task.TEXT_CLASSIFICATION and body.parameters is not None
            return await predict_all(request, predicting, single=predicting.inputs.single and not listed)


async def similarity(request: Request, body: SimilarityRequest) -> Response:
    """Cosines of the source sentence with each of the others."""

    def respond(answer: Answer) -> Response:
        source, *others = vectors(answer.rows)
        return json_response(np.stack(others) @ source)

    inputs = [TextInput(text) for text in (body.inputs.source_sentence, *body.inputs.sentences)]
    return await infer(request, Task.EMBEDDINGS, inputs, respond, field="inputs", truncate=body.truncate)
