"""OpenAI's embeddings API."""

import base64
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.endpoint import Body, JsonRoute, infer, inference_of, json_response
from app.api.errors import OpenAIError, error_responses
from app.api.inputs import Inputs
from app.api.rows import check_dimensions, vectors
from app.errors import ModelNotFound
from app.inference import Answer
from app.models.runner import Task

router = APIRouter(tags=["OpenAI"], route_class=JsonRoute)


class EmbeddingsRequest(Body):
    """What to embed, and how to send the vectors."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"model": "all-MiniLM-L6-v2", "input": "A text to embed."}}
    )
    task: ClassVar[Task | None] = Task.EMBEDDINGS

    model: str = Field(description="The served model's name: see `GET /v1/models`.")
    input: Inputs = Field(
        description="A text, a list of texts, a list of token ids, or a list of such lists."
    )
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="base64 holds little-endian float32."
    )
    dimensions: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Keep only the first dimensions of each vector, scaled to length 1 again."
    )


class Embedding(BaseModel):
    """One vector."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Tokens read, padding left out."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(BaseModel):
    """The vectors, in the order of the inputs."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage


class Model(BaseModel):
    """A served model."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(BaseModel):
    """All served models: one."""

    object: Literal["list"]
    data: list[Model]


@router.post("/v1/embeddings", response_model=EmbeddingsResponse, responses=error_responses(OpenAIError))
async def create_embeddings(request: Request, body: EmbeddingsRequest) -> Response:
    """Embed texts. The vectors have length 1."""
    check_dimensions(request, body.dimensions)

    def respond(answer: Answer) -> Response:
        embeddings: list[Any] = list(vectors(answer.rows, dimensions=body.dimensions))
        if body.encoding_format == "base64":
            embeddings = [
                base64.b64encode(vector.astype("<f4", copy=False)).decode() for vector in embeddings
            ]
        return json_response(
            {
                "object": "list",
                "data": [
                    {"object": "embedding", "index": index, "embedding": embedding}
                    for index, embedding in enumerate(embeddings)
                ],
                "model": answer.info.name,
                "usage": {"prompt_tokens": answer.tokens, "total_tokens": answer.tokens},
            }
        )

    return await infer(request, Task.EMBEDDINGS, body.input, respond, field="input", model=body.model)


def _described(request: Request) -> dict[str, Any]:
    return {
        "id": inference_of(request).info.name,
        "object": "model",
        "created": request.app.state.started,
        "owned_by": "vitrine",
    }


@router.get("/v1/models", response_model=ModelList, responses=error_responses(OpenAIError, 503))
async def list_models(request: Request) -> Response:
    """List the served model."""
    return json_response({"object": "list", "data": [_described(request)]})


@router.get("/v1/models/{model:path}", response_model=Model, responses=error_responses(OpenAIError, 404, 503))
async def retrieve_model(request: Request, model: str) -> Response:
    """Describe the served model."""
    described = _described(request)
    if model != described["id"]:
        raise ModelNotFound(
            f"This model is not served here; the one that is: {described['id']}.", field="model"
        )
    return json_response(described)
