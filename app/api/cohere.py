"""Cohere's rerank API, which Jina, vLLM and others speak as well."""

from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.endpoint import Body, JsonRoute, infer, json_response
from app.api.errors import OpenAIError, error_responses
from app.api.inputs import Documents
from app.api.rows import ranking
from app.inference import Answer
from app.models.postprocess import relevance
from app.models.runner import Task, TextInput

router = APIRouter(tags=["Cohere"], route_class=JsonRoute)


class RerankRequest(Body):
    """A query, and the documents to order by their relevance to it."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"query": "What is a cat?", "documents": ["A small feline.", "A planet."], "top_n": 1}
        }
    )
    task: ClassVar[Task | None] = Task.RERANK

    model: str | None = Field(None, description="The served model's name, if given.")
    query: str
    documents: Documents = Field(description='Texts, each by itself or as `{"text": text}`.')
    top_n: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Only the most relevant; all by default."
    )
    return_documents: bool = Field(False, description="Repeat each document beside its score.")


class Document(BaseModel):
    """A document that was sent."""

    text: str


class Result(BaseModel):
    """One document's relevance, from 0 to 1."""

    index: int
    relevance_score: float
    document: Document | None = None


class RerankResponse(BaseModel):
    """The documents, most relevant first."""

    id: str
    model: str
    results: list[Result]
    meta: dict[str, Any]


@router.post("/v1/rerank", response_model=RerankResponse, responses=error_responses(OpenAIError))
async def rerank(request: Request, body: RerankRequest) -> Response:
    """Order documents by their relevance to a query."""

    def respond(answer: Answer) -> Response:
        results: list[dict[str, Any]] = [
            {"index": index, "relevance_score": relevance(answer.rows[index])}
            for index in ranking(answer.rows, body.top_n)
        ]
        if body.return_documents:
            for result in results:
                result["document"] = {"text": body.documents[result["index"]]}
        return json_response(
            {
                "id": request.state.context.request_id,
                "model": answer.info.name,
                "results": results,
                "meta": {"api_version": {"version": "1"}, "tokens": {"input_tokens": answer.tokens}},
            }
        )

    inputs = [TextInput(body.query, document) for document in body.documents]
    return await infer(request, Task.RERANK, inputs, respond, field="documents", model=body.model)
