"""The Open Inference Protocol, V2, of KServe and Triton.

Texts come as BYTES tensors: `text` holds one for each input, or pairs in a shape of `[n, 2]`. The second
halves may also come as a tensor of their own, `text_pair`, and `text` then hold a single one for all of them:
so a rerank model takes the query from `text` and the documents from `text_pair`.
"""

import re
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from app.api.endpoint import Body, JsonRoute, infer, inference_of, json_response, parse_json, read_body
from app.api.errors import OpenInferenceError, Responses, error_responses
from app.api.hugging_face import entity_document
from app.api.open_inference_metadata import VERSION, TensorMetadata, check_version, outputs_of
from app.api.rows import check_dimensions, vectors
from app.api.tensors import BinarySize, InputTensor, OutputTensor, Part, read_tensors
from app.errors import InvalidInput
from app.inference import Answer
from app.models.postprocess import Activation, Aggregation, classify, entities, relevance
from app.models.runner import ModelInfo, Task, TextInput

router = APIRouter(tags=["Open Inference Protocol"], route_class=JsonRoute)
RESPONSES: Responses = {
    200: {
        "content": {"application/octet-stream": {}},
        "description": "JSON, and the binary outputs behind it",
    },
    **error_responses(OpenInferenceError),
}

HEADER_LENGTH = "inference-header-content-length"


class OutputParameters(Part):
    """Parameters of a requested output."""

    binary_data: bool | None = Field(None, description="Send it behind the JSON.")


class RequestedOutput(Part):
    """An output that is wanted."""

    name: str
    parameters: OutputParameters | None = None


class Parameters(Part):
    """Parameters of a request; those of another task than the model's have no effect."""

    binary_data_output: bool = Field(False, description="Send the outputs behind the JSON.")
    truncate: bool | None = Field(None, description="Cut an input that is too long, or refuse it.")
    normalize: bool = Field(True, description="Embeddings: scale to length 1.")
    dimensions: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Embeddings: keep the first ones."
    )
    raw_scores: bool = Field(False, description="Classification and rerank: logits.")
    top_k: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Classification: the best labels only."
    )
    aggregation_strategy: Aggregation = Field("simple", description="Entities: how tokens become them.")


class InferRequest(Body):
    """Tensors in, and which are wanted out."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["A text."]}]}
        }
    )
    task: ClassVar[Task | None] = None

    id: str | None = Field(None, description="Repeated in the response.")
    inputs: list[InputTensor] = Field(min_length=1, max_length=2)
    outputs: list[RequestedOutput] | None = Field(None, description="All by default.")
    parameters: Parameters | None = None
    _binary: bytes = PrivateAttr(b"")

    @classmethod
    async def read(cls, request: Request) -> Self:
        """The JSON, whose length a header gives if tensors follow it. Clients send many content types."""
        data = await read_body(request)
        header = request.headers.get(HEADER_LENGTH, str(len(data)))
        if not re.fullmatch("[0-9]{1,10}", header) or (length := int(header)) > len(data):
            raise InvalidInput("It must be the JSON's length in bytes, within the body.", field=HEADER_LENGTH)
        body = cls.parse(parse_json(data[:length]))
        body._binary = data[length:]  # noqa: SLF001 - its own class
        return body

    def texts(self) -> list[TextInput]:
        """The inputs that the tensors are made of. Raises `InvalidInput`."""
        names = [tensor.name for tensor in self.inputs]
        if names not in (["text"], ["text", "text_pair"], ["text_pair", "text"]):
            raise InvalidInput("They must be one tensor text and at most one text_pair.", field="inputs")
        tensors = dict(zip(names, read_tensors(self.inputs, memoryview(self._binary)), strict=True))
        columns = max(tensor.columns for tensor in self.inputs)
        if columns > 3 - len(names):
            message = "Pairs must come in a tensor text of shape [n, 2], or in two of shape [n] or [n, 1]."
            raise InvalidInput(message, field="inputs")
        texts = tensors["text"]
        if columns == 2:
            return [TextInput(*pair) for pair in zip(texts[::2], texts[1::2], strict=True)]
        if len(names) == 1:
            return [TextInput(text) for text in texts]
        pairs = tensors["text_pair"]
        if len(texts) == 1:
            texts *= len(pairs)
        if len(texts) != len(pairs):
            raise InvalidInput("text must have one element, or as many as text_pair.", field="inputs")
        return [TextInput(*pair) for pair in zip(texts, pairs, strict=True)]


class ResponseTensor(TensorMetadata):
    """An output, with its data or its size behind the JSON."""

    parameters: BinarySize | None = None
    data: list[float] | list[str] | None = None


class InferResponse(BaseModel):
    """The outputs; `parameters.truncated_inputs` counts the inputs that were cut, if any were."""

    model_name: str
    model_version: str
    id: str | None = None
    parameters: dict[str, int] | None = None
    outputs: list[ResponseTensor]


def _tensors(answer: Answer, parameters: Parameters) -> list[OutputTensor]:
    """The outputs, by the names and in the forms of `outputs_of`."""
    model, rows = answer.info, answer.rows
    match model.task:
        case Task.EMBEDDINGS:
            made = np.stack(vectors(rows, dimensions=parameters.dimensions, normalize=parameters.normalize))
            return [OutputTensor("embeddings", made.shape, made.reshape(-1))]
        case Task.TEXT_CLASSIFICATION:
            activation: Activation | None = "none" if parameters.raw_scores else None
            best = [classify(row, model, top_k=parameters.top_k, activation=activation) for row in rows]
            shape = (len(rows), len(best[0]))
            labels = [label for row in best for label, _ in row]
            scores = np.array([score for row in best for _, score in row], np.float32)
            return [OutputTensor("labels", shape, labels), OutputTensor("scores", shape, scores)]
        case Task.TOKEN_CLASSIFICATION:
            strategy = parameters.aggregation_strategy
            found = [
                orjson.dumps(
                    [entity_document(entity, strategy) for entity in entities(row, text, model, strategy)]
                )
                for row, text in zip(rows, answer.inputs, strict=True)
            ]
            return [OutputTensor("entities", (len(rows),), [document.decode() for document in found])]
        case Task.RERANK:
            relevances = np.array([relevance(row, raw=parameters.raw_scores) for row in rows], np.float32)
            return [OutputTensor("scores", relevances.shape, relevances)]


@router.post(
    "/v2/models/{model:path}/versions/{version}/infer", response_model=InferResponse, responses=RESPONSES
)
async def infer_version(request: Request, body: InferRequest, model: str, version: str) -> Response:
    """Run the model."""
    check_version(version)
    return await infer_model(request, body, model)


@router.post("/v2/models/{model:path}/infer", response_model=InferResponse, responses=RESPONSES)
async def infer_model(request: Request, body: InferRequest, model: str) -> Response:
    """Run the model."""
    info = inference_of(request).info
    parameters = body.parameters or Parameters()
    check_dimensions(request, parameters.dimensions)
    inputs = body.texts()
    if info.task is Task.RERANK and inputs[0].pair is None:
        raise InvalidInput("A rerank model needs a query in text and documents in text_pair.", field="inputs")
    wanted = _wanted(body.outputs, info, binary_by_default=parameters.binary_data_output)

    def respond(answer: Answer) -> Response:
        content: dict[str, Any] = {"model_name": answer.info.name, "model_version": VERSION, "outputs": []}
        if body.id is not None:
            content["id"] = body.id
        if truncated := sum(item.truncated for item in answer.inputs):
            content["parameters"] = {"truncated_inputs": truncated}
        tail = b""
        for tensor in _tensors(answer, parameters):
            if tensor.name in wanted:
                described, data = tensor.encode(binary=wanted[tensor.name])
                content["outputs"].append(described)
                tail += data
        response = json_response(content)
        if not any(wanted.values()):
            return response
        head = bytes(response.body)
        return Response(
            head + tail, headers={HEADER_LENGTH: str(len(head))}, media_type="application/octet-stream"
        )

    return await infer(
        request,
        info.task,
        inputs,
        respond,
        field="inputs[0].data",
        model=model,
        truncate=parameters.truncate,
    )


def _wanted(
    requested: list[RequestedOutput] | None, model: ModelInfo, *, binary_by_default: bool
) -> dict[str, bool]:
    """The outputs to send, and whether each goes behind the JSON. Raises `InvalidInput`."""
    names = [output["name"] for output in outputs_of(model)]
    if not requested:
        return dict.fromkeys(names, binary_by_default)
    wanted = {}
    for index, output in enumerate(requested):
        if output.name not in names:
            message = f"The model's outputs are {', '.join(names)}."
            raise InvalidInput(message, field=f"outputs[{index}].name")
        binary = output.parameters.binary_data if output.parameters else None
        wanted[output.name] = binary_by_default if binary is None else binary
    return wanted
