"""The one table of errors: which status each has, and how each protocol words it.

No reply holds anything of the request's body: a validation error names the field and what is allowed there.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.errors import (
    ClientGone,
    DeadlineExceeded,
    InvalidInput,
    ModelNotFound,
    Overloaded,
    RequestTooLarge,
    TaskNotSupported,
    Unavailable,
    VitrineError,
    WorkerDied,
)

Responses = dict[int | str, dict[str, Any]]
"""As FastAPI takes them, by status."""


class NotJson(InvalidInput):
    """The body's content type says that it is something else than JSON."""

    code = "unsupported_media_type"


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of error is told."""

    status: int
    openai: str
    """OpenAI's `error.type`."""
    hugging_face: str
    """text-embeddings-inference's `error_type`."""


INVALID = Kind(400, "invalid_request_error", "Validation")
FAILED = Kind(500, "server_error", "Backend")

KINDS: Mapping[type[VitrineError], Kind] = {
    InvalidInput: INVALID,
    ModelNotFound: Kind(404, "invalid_request_error", "Validation"),
    TaskNotSupported: Kind(404, "invalid_request_error", "Validation"),
    RequestTooLarge: Kind(413, "invalid_request_error", "Validation"),
    NotJson: Kind(415, "invalid_request_error", "Validation"),
    Overloaded: Kind(429, "rate_limit_error", "Overloaded"),
    ClientGone: Kind(499, "invalid_request_error", "Validation"),
    Unavailable: Kind(503, "server_error", "Unhealthy"),
    WorkerDied: Kind(503, "server_error", "Unhealthy"),
    DeadlineExceeded: Kind(504, "timeout_error", "Overloaded"),
    VitrineError: FAILED,
}

UNAVAILABLE_RETRY_AFTER = 1
"""Seconds. Another replica may be ready at once; a load balancer finds it."""


def kind_of(error: VitrineError) -> Kind:
    """The table's row for the error's nearest class."""
    return next(KINDS[cls] for cls in type(error).__mro__ if cls in KINDS)


class OpenAIErrorDetail(BaseModel):
    """What went wrong, in OpenAI's words."""

    message: str
    type: str
    param: str | None
    code: str


class OpenAIError(BaseModel):
    """OpenAI's error envelope."""

    error: OpenAIErrorDetail


class HuggingFaceError(BaseModel):
    """text-embeddings-inference's error body."""

    error: str
    error_type: str


class OpenInferenceError(BaseModel):
    """The Open Inference Protocol's error body."""

    error: str


def _openai(kind: Kind, code: str, message: str, field: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind.openai, "param": field, "code": code}}


def _hugging_face(kind: Kind, code: str, message: str, field: str | None) -> dict[str, Any]:
    return {"error": f"{field}: {message}" if field else message, "error_type": kind.hugging_face}


def _open_inference(kind: Kind, code: str, message: str, field: str | None) -> dict[str, Any]:
    return {"error": f"{field}: {message}" if field else message}


def _envelope(path: str) -> Callable[[Kind, str, str, str | None], dict[str, Any]]:
    """Each protocol has a part of the paths to itself: so even an unknown route's error is in its words."""
    if path.startswith("/v1/"):
        return _openai
    if path == "/v2" or path.startswith("/v2/"):
        return _open_inference
    return _hugging_face


def error_response(
    path: str,
    kind: Kind,
    code: str,
    message: str,
    *,
    field: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error in the words of the protocol that `path` belongs to."""
    body = orjson.dumps(_envelope(path)(kind, code, message, field))
    return Response(body, kind.status, headers, "application/json")


def vitrine_error_response(path: str, error: VitrineError) -> Response:
    """The error in the words of the protocol that `path` belongs to."""
    headers = {}
    if isinstance(error, Overloaded):
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    elif isinstance(error, (Unavailable, WorkerDied)):
        headers["retry-after"] = str(UNAVAILABLE_RETRY_AFTER)
    return error_response(path, kind_of(error), error.code, error.message, field=error.field, headers=headers)


async def _vitrine_error(request: Request, error: VitrineError) -> Response:
    return vitrine_error_response(request.scope["path"], error)


async def _http_exception(request: Request, error: HTTPException) -> Response:
    status = HTTPStatus(error.status_code)
    messages = {
        HTTPStatus.NOT_FOUND: "There is no such route: those of the API are listed under /docs.",
        HTTPStatus.METHOD_NOT_ALLOWED: "This route has another method: the Allow header names it.",
    }
    kind = Kind(status, INVALID.openai, INVALID.hugging_face)
    code = status.phrase.lower().replace(" ", "_")
    message = messages.get(status, f"{status.phrase}.")
    return error_response(request.scope["path"], kind, code, message, headers=error.headers)


async def _parameter_error(request: Request, error: RequestValidationError) -> Response:
    problem = error.errors()[0]
    field = str(problem["loc"][-1])
    return error_response(request.scope["path"], INVALID, InvalidInput.code, problem["msg"], field=field)


async def _unexpected(request: Request, error: Exception) -> Response:
    """Starlette raises the error again once this is sent, so that the server logs it, once."""
    message = "The server failed to answer; its log has the reason under this response's x-request-id."
    return error_response(request.scope["path"], FAILED, VitrineError.code, message)


def error_responses(model: type[BaseModel], *statuses: int) -> Responses:
    """OpenAPI's description of a route's errors: those of an inference unless `statuses` are given.

    They are in the words of `model`, or in OpenAI's where the edge refuses before it knows the route.
    """
    errors: Any = model if model is OpenAIError else model | OpenAIError
    if not statuses:
        statuses = tuple(sorted({kind.status for kind in KINDS.values()} - {KINDS[ClientGone].status}))
    described: Responses = {
        status: {"model": errors, "description": HTTPStatus(status).phrase} for status in statuses
    }
    for status in {429, 503} & set(statuses):
        described[status]["headers"] = {
            "Retry-After": {"description": "Seconds after which to try again.", "schema": {"type": "integer"}}
        }
    described["default"] = {"model": errors, "description": "Any other error."}
    return described


def install(app: FastAPI) -> None:
    """Make every error that leaves a route, or that there is no route, a reply in its protocol's words."""
    app.exception_handler(VitrineError)(_vitrine_error)
    app.exception_handler(HTTPException)(_http_exception)
    app.exception_handler(RequestValidationError)(_parameter_error)
    app.exception_handler(Exception)(_unexpected)
