"""The Open Inference Protocol's health and metadata: see `app.api.open_inference`."""

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.api.endpoint import inference_of, json_response
from app.api.errors import OpenInferenceError, error_responses
from app.api.health import health_of
from app.errors import ModelNotFound, Unavailable
from app.models.runner import ModelInfo, Task

router = APIRouter(tags=["Open Inference Protocol"])
RESPONSES = error_responses(OpenInferenceError, 404, 503)

VERSION = "1"
"""The one version of the one model."""


class TensorMetadata(BaseModel):
    """A tensor's name and form; -1 stands for any size."""

    name: str
    datatype: Literal["BYTES", "FP32"]
    shape: list[int]


class ModelMetadata(BaseModel):
    """What the model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerMetadata(BaseModel):
    """The server, and the extensions of the protocol that it speaks."""

    name: str
    version: str
    extensions: list[str]


class Live(BaseModel):
    """Whether the server is alive."""

    live: bool


class Ready(BaseModel):
    """Whether the server would answer an inference."""

    ready: bool


class ModelReady(Ready):
    """Whether the model would."""

    name: str


def inputs_of(model: ModelInfo) -> list[dict[str, Any]]:
    """The tensors that the model takes."""
    text = {"name": "text", "datatype": "BYTES", "shape": [-1]}
    if model.task is Task.RERANK:
        return [text, {**text, "name": "text_pair"}]
    return [text]


def outputs_of(model: ModelInfo) -> list[dict[str, Any]]:
    """The tensors that it gives."""
    labels = len(model.labels)
    forms: dict[Task, list[tuple[str, str, list[int | None]]]] = {
        Task.EMBEDDINGS: [("embeddings", "FP32", [-1, model.dimensions])],
        Task.TEXT_CLASSIFICATION: [("labels", "BYTES", [-1, labels]), ("scores", "FP32", [-1, labels])],
        Task.TOKEN_CLASSIFICATION: [("entities", "BYTES", [-1])],
        Task.RERANK: [("scores", "FP32", [-1])],
    }
    return [
        {"name": name, "datatype": datatype, "shape": shape} for name, datatype, shape in forms[model.task]
    ]


@router.get("/v2", response_model=ServerMetadata, responses=RESPONSES)
async def server_metadata(request: Request) -> Response:
    """Describe the server."""
    return json_response(
        {"name": "vitrine", "version": request.app.version, "extensions": ["binary_tensor_data"]}
    )


@router.get("/v2/health/live", response_model=Live, responses={503: {"model": Live}})
async def live(request: Request) -> Response:
    """Neither event loop nor worker is stuck."""
    well = health_of(request).live() is None
    return json_response({"live": well}, status=200 if well else 503)


@router.get("/v2/health/ready", response_model=Ready, responses={503: {"model": Ready}})
async def ready(request: Request) -> Response:
    """A request sent now would be answered."""
    well = health_of(request).ready() is None
    return json_response({"ready": well}, status=200 if well else 503)


@router.get(
    "/v2/models/{model:path}/versions/{version}/ready", response_model=ModelReady, responses=RESPONSES
)
async def version_ready(request: Request, model: str, version: str) -> Response:
    """A request sent now would be answered."""
    check_version(version)
    return await model_ready(request, model)


@router.get("/v2/models/{model:path}/ready", response_model=ModelReady, responses=RESPONSES)
async def model_ready(request: Request, model: str) -> Response:
    """A request sent now would be answered."""
    name = _served(request, model).name
    reason = health_of(request).ready()
    if reason is not None:
        raise Unavailable(f"The model is not ready: {reason}.", reason="not_ready")
    return json_response({"name": name, "ready": True})


@router.get("/v2/models/{model:path}/versions/{version}", response_model=ModelMetadata, responses=RESPONSES)
async def version_metadata(request: Request, model: str, version: str) -> Response:
    """Describe the model's inputs and outputs."""
    check_version(version)
    return await model_metadata(request, model)


@router.get("/v2/models/{model:path}", response_model=ModelMetadata, responses=RESPONSES)
async def model_metadata(request: Request, model: str) -> Response:
    """Describe the model's inputs and outputs."""
    info = _served(request, model)
    return json_response(
        {
            "name": info.name,
            "versions": [VERSION],
            "platform": "pytorch_transformers",
            "inputs": inputs_of(info),
            "outputs": outputs_of(info),
        }
    )


def _served(request: Request, name: str) -> ModelInfo:
    info = inference_of(request).info
    if name != info.name:
        raise ModelNotFound(f"This model is not served here; the one that is: {info.name}.", field="model")
    return info


def check_version(version: str) -> None:
    """Raise `ModelNotFound` unless it is the one that there is."""
    if version != VERSION:
        raise ModelNotFound(f"The model has one version, {VERSION}.", field="version")
