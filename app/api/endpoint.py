"""What every inference route shares: its body, its call of the core, its reply."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, ClassVar, Self, cast

import orjson
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.errors import NotJson, vitrine_error_response
from app.context import RequestContext
from app.edge.disconnect import cancel_on_disconnect
from app.errors import ClientGone, InvalidInput, Unavailable, VitrineError
from app.inference import Answer, Inference
from app.models.runner import Input, Task


class Body(BaseModel):
    """A request's JSON body. Unknown fields are ignored, as the protocols' own servers do."""

    model_config = ConfigDict(strict=True)

    task: ClassVar[Task | None] = None
    """The task that a request with this body stands for; None where that is up to the model."""

    @classmethod
    async def read(cls, request: Request) -> Self:
        """Read and validate it. Raises `InvalidInput`, which names the field and never repeats its value."""
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type != "application/json" and not content_type.endswith("+json"):
            raise NotJson("The body must be JSON, sent with `Content-Type: application/json`.")
        return cls.parse(parse_json(await read_body(request)))

    @classmethod
    def parse(cls, document: dict[str, Any]) -> Self:
        """Validate. Raises `InvalidInput` for the first thing that is wrong."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"])
            path += problem.get("ctx", {}).get("path", "")
            raise InvalidInput(f"{problem['msg']}.", field=path.removeprefix(".")) from None


class JsonRoute(APIRoute):
    """A route whose endpoint gets a validated `Body`; one without a body is FastAPI's own.

    The documentation is FastAPI's all the same. What differs is how a request is handled: orjson parses the
    body, which takes no NaN, no lone surrogate and no bottomless nesting; the work for a client that goes is
    ended; and what goes wrong before the core has begun is recorded as a request that ended so.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.body_type is not None:
            self.app = _answering(self.get_route_handler())

    @property
    def body_type(self) -> type[Body] | None:
        """What the endpoint gets; None if it has no body."""
        return cast(type[Body], self.body_field.field_info.annotation) if self.body_field else None

    @property
    def task(self) -> Task | None:
        """The task that a request to this route stands for; None where that is up to the model."""
        return self.body_type.task if self.body_type else None

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI asks for it once, when the route is made."""
        body_type = self.body_type
        if body_type is None:
            return super().get_route_handler()
        endpoint: Callable[..., Awaitable[Response]] = self.endpoint

        async def handle(request: Request) -> Response:
            try:
                body = await body_type.read(request)
                async with cancel_on_disconnect(request.scope, request.receive):
                    return await endpoint(request, body, **request.path_params)
            except ClientDisconnect:
                gone = ClientGone("The client closed the connection.")
                _record(request, body_type.task, gone)
                raise gone from None
            except VitrineError as error:
                _record(request, body_type.task, error)
                raise

        return handle


def _answering(handle: Callable[[Request], Coroutine[Any, Any, Response]]) -> ASGIApp:
    """Like FastAPI's `request_response`, without exit stacks for dependencies: there are none."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await handle(Request(scope, receive, send))
        except VitrineError as error:
            response = vitrine_error_response(scope["path"], error)
        await response(scope, receive, send)

    return answer


async def read_body(request: Request) -> bytes:
    """The whole body, which `BodyMiddleware` hands on in one message. Raises `ClientDisconnect`."""
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return cast(bytes, message.get("body", b""))


def parse_json(data: bytes) -> dict[str, Any]:
    """A JSON object from its text. Raises `InvalidInput`."""
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        problem = f"is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        raise InvalidInput(
            f"The body {problem if data else 'is empty; a JSON object is expected'}."
        ) from None
    if not isinstance(document, dict):
        raise InvalidInput("The body must be a JSON object.")
    return document


def inference_of(request: Request) -> Inference:
    """The core, where `build_api` has put it."""
    return cast(Inference, request.app.state.inference)


async def infer(
    request: Request,
    task: Task,
    inputs: Sequence[Input],
    respond: Callable[[Answer], Response],
    *,
    field: str,
    model: str | None = None,
    truncate: bool | None = None,
) -> Response:
    """Have `inputs` answered. An error that blames one of them, by its index, points into `field` then."""
    context = _context(request)
    try:
        return await inference_of(request).infer(
            context, task, inputs, respond, model=model, truncate=truncate
        )
    except InvalidInput as error:
        if error.field == "input":
            error.field = field
        elif error.field is not None and error.field.isdecimal():
            error.field = f"{field}[{error.field}]"
        raise


def json_response(content: Any, *, status: int = 200) -> Response:
    """Arrays of numbers become JSON straight from their memory."""
    return Response(
        orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), status, media_type="application/json"
    )


def _context(request: Request) -> RequestContext:
    return cast(RequestContext, request.scope["state"]["context"])


def _record(request: Request, task: Task | None, error: VitrineError) -> None:
    """Count a request that ended before the core had begun with it."""
    context = _context(request)
    if context.record is not None:
        return
    inference = inference_of(request)
    if task is None:
        try:
            task = inference.info.task
        except Unavailable:
            return
    inference.refuse(context, task, error)
