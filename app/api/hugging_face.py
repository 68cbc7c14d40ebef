"""The API of Hugging Face's text-embeddings-inference."""

from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from app.api.endpoint import Body, JsonRoute, infer, inference_of, json_response
from app.api.errors import HuggingFaceError, error_responses
from app.api.inputs import Inputs, SequenceInputs
from app.api.rows import check_dimensions, ranking, vectors
from app.errors import InvalidInput
from app.inference import Answer
from app.models.postprocess import Activation, Aggregation, Entity, classify, entities, relevance
from app.models.runner import ModelInfo, Task, TextInput
from app.settings import Settings

router = APIRouter(tags=["Hugging Face"], route_class=JsonRoute)
RESPONSES = error_responses(HuggingFaceError)


class Truncating(Body):
    """What to do with an input that is too long."""

    truncate: bool | None = Field(None, description="Cut it, or refuse it; the server's setting by default.")
    truncation_direction: Literal["right", "Right"] | None = Field(None, description="It is cut at its end.")


class EmbedRequest(Truncating):
    """What to embed."""

    model_config = ConfigDict(json_schema_extra={"example": {"inputs": "What is Deep Learning?"}})
    task: ClassVar[Task | None] = Task.EMBEDDINGS

    inputs: Inputs = Field(description="A text, a list of token ids, or a list of texts and such lists.")
    normalize: bool = Field(True, description="Scale to length 1; false leaves what the model makes.")
    dimensions: Annotated[int, Field(ge=1)] | None = Field(None, description="Keep only the first ones.")
    prompt_name: None = Field(None, description="The server knows no prompts: put yours before the text.")


class PredictRequest(Truncating):
    """What to classify: each input as a whole, or its tokens, as the model does."""

    model_config = ConfigDict(json_schema_extra={"example": {"inputs": "I like you. I love you."}})
    task: ClassVar[Task | None] = Task.TEXT_CLASSIFICATION

    inputs: SequenceInputs = Field(
        description="A text, a pair `[text, text]`, or a list of `[text]` and `[text, text]`."
    )
    raw_scores: bool = Field(False, description="Logits in the place of probabilities.")
    top_k: Annotated[int, Field(ge=1)] | None = Field(None, description="Only the best labels.")
    function_to_apply: Activation | None = Field(None, description="By default what the model's kind says.")
    aggregation_strategy: Aggregation = Field("simple", description="How tokens become entities.")
    ignore_labels: list[str] = Field(["O"], description="Labels that are no entities.")
    stride: None = Field(None, description="Texts are not read in overlapping windows.")


class Prediction(BaseModel):
    """A label of a whole text."""

    label: str
    score: float


class TokenPrediction(BaseModel):
    """A label of a part of the text, from character `start` to `end`; `entity` if nothing was aggregated."""

    entity_group: str | None = None
    entity: str | None = None
    score: float
    word: str
    start: int
    end: int


Predictions = list[Prediction] | list[TokenPrediction] | list[list[Prediction]] | list[list[TokenPrediction]]


class RerankRequest(Truncating):
    """A query, and the texts to order by their relevance to it."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"query": "What is a cat?", "texts": ["A small feline.", "A planet."]}}
    )
    task: ClassVar[Task | None] = Task.RERANK

    query: str
    texts: list[str] = Field(min_length=1)
    raw_scores: bool = Field(False, description="Logits in the place of scores from 0 to 1.")
    return_text: bool = Field(False, description="Repeat each text beside its score.")


class Rank(BaseModel):
    """One text's relevance."""

    index: int
    score: float
    text: str | None = None


class Info(BaseModel):
    """The served model and the server's limits."""

    model_id: str
    model_sha: str | None
    model_dtype: str
    model_type: dict[str, JsonValue]
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_batch_requests: int
    max_client_batch_size: int
    auto_truncate: bool
    tokenization_workers: int
    version: str


@router.post("/embed", response_model=list[list[float]], responses=RESPONSES)
async def embed(request: Request, body: EmbedRequest) -> Response:
    """Embed texts: a list of vectors, even for one text."""
    check_dimensions(request, body.dimensions)

    def respond(answer: Answer) -> Response:
        return json_response(vectors(answer.rows, dimensions=body.dimensions, normalize=body.normalize))

    return await infer(request, Task.EMBEDDINGS, body.inputs, respond, field="inputs", truncate=body.truncate)


@router.post("/predict", response_model=Predictions, responses=RESPONSES)
async def predict(request: Request, body: PredictRequest) -> Response:
    """Classify texts, or find the entities in them. A single text's predictions have no list around them."""
    return await predict_all(request, body, single=body.inputs.single)


@router.post("/rerank", response_model=list[Rank], responses=RESPONSES)
async def rerank(request: Request, body: RerankRequest) -> Response:
    """Order texts by their relevance to a query, most relevant first."""

    def respond(answer: Answer) -> Response:
        ranks: list[dict[str, Any]] = [
            {"index": index, "score": relevance(answer.rows[index], raw=body.raw_scores)}
            for index in ranking(answer.rows)
        ]
        if body.return_text:
            for rank in ranks:
                rank["text"] = body.texts[rank["index"]]
        return json_response(ranks)

    inputs = [TextInput(body.query, text) for text in body.texts]
    return await infer(request, Task.RERANK, inputs, respond, field="texts", truncate=body.truncate)


@router.get("/info", response_model=Info, responses=error_responses(HuggingFaceError, 503))
async def info(request: Request) -> Response:
    """Describe the served model and the server's limits."""
    settings: Settings = request.app.state.settings
    model = inference_of(request).info
    return json_response(
        {
            "model_id": model.source,
            "model_sha": model.revision,
            "model_dtype": model.dtype,
            "model_type": _model_type(model),
            "max_concurrent_requests": settings.admission.max_inputs,
            "max_input_length": model.max_tokens,
            "max_batch_tokens": settings.max_batch_tokens,
            "max_batch_requests": settings.batching.max_inputs,
            "max_client_batch_size": settings.admission.max_request_inputs,
            "auto_truncate": settings.truncate,
            "tokenization_workers": 1,
            "version": request.app.version,
        }
    )


async def predict_all(request: Request, body: PredictRequest, *, single: bool) -> Response:
    """What the model predicts of each input, or, if `single`, of the only one."""
    task = inference_of(request).info.task
    if task is not Task.TOKEN_CLASSIFICATION:
        task = Task.TEXT_CLASSIFICATION
    elif any(item.pair is not None for item in body.inputs.items):
        raise InvalidInput("Token classification takes texts, not pairs of them.", field="inputs")
    activation = "none" if body.raw_scores else body.function_to_apply

    def respond(answer: Answer) -> Response:
        predictions: list[list[dict[str, Any]]]
        if task is Task.TOKEN_CLASSIFICATION:
            predictions = [
                [
                    entity_document(entity, body.aggregation_strategy)
                    for entity in entities(
                        row, tokenized, answer.info, body.aggregation_strategy, ignore=body.ignore_labels
                    )
                ]
                for row, tokenized in zip(answer.rows, answer.inputs, strict=True)
            ]
        else:
            predictions = [
                [
                    {"label": label, "score": score}
                    for label, score in classify(row, answer.info, top_k=body.top_k, activation=activation)
                ]
                for row in answer.rows
            ]
        return json_response(predictions[0] if single else predictions)

    return await infer(request, task, body.inputs.items, respond, field="inputs", truncate=body.truncate)


def entity_document(entity: Entity, strategy: Aggregation) -> dict[str, Any]:
    """An entity as Transformers' pipeline gives it."""
    return {
        "entity" if strategy == "none" else "entity_group": entity.label,
        "score": entity.score,
        "word": entity.word,
        "start": entity.start,
        "end": entity.end,
    }


def _model_type(model: ModelInfo) -> dict[str, Any]:
    if model.task is Task.EMBEDDINGS:
        return {"embedding": {}}
    kinds = {
        Task.TEXT_CLASSIFICATION: "classifier",
        Task.TOKEN_CLASSIFICATION: "token_classifier",
        Task.RERANK: "reranker",
    }
    id2label = {str(index): label for index, label in enumerate(model.labels)}
    label2id = {label: index for index, label in enumerate(model.labels)}
    return {kinds[model.task]: {"id2label": id2label, "label2id": label2id}}
