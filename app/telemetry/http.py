"""The outermost layer of the API: a context for each request, common headers for each answer, and the fact.

Pure ASGI: a BaseHTTPMiddleware would run the routes in another task, out of reach of their context variables.
"""

import random
import re
import time
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.context import RequestContext
from app.edge.replies import Refusal
from app.observer import HttpRecord, Observer

PROBES = frozenset({"/startupz", "/readyz", "/livez", "/health", "/v2/health/live", "/v2/health/ready"})
"""Paths that are asked every few seconds by machines, and would drown the people's requests."""

Headers = list[tuple[bytes, bytes]]

UNMATCHED = "unmatched"
"""The route of a request that no route matches."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_REQUEST_ID = re.compile(rb"[!-~]{1,128}")
_TIMEOUT_MS = re.compile(rb"[1-9][0-9]{0,8}")
TIMEOUT = b"x-request-timeout-ms"

WRONG_TIMEOUT = Refusal(
    HTTPStatus.BAD_REQUEST,
    "invalid_input",
    "The header x-request-timeout-ms takes a whole number of milliseconds above 0.",
    param="x-request-timeout-ms",
)


class HttpTelemetry:
    """ASGI middleware; puts a `RequestContext` into the scope's state as `context`."""

    def __init__(self, app: ASGIApp, api: Starlette, *, observer: Observer, timeout: float) -> None:
        """`api` has the routes that requests are for.

        `timeout` is the longest deadline in seconds, and that of a request which names none.
        """
        self._app = app
        self._api = api
        self._observer = observer
        self._timeout = timeout
        self.active = 0
        """Exchanges under way, probes left out."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        context = request_context(scope["headers"], started, self._timeout)
        given_timeout = _given(scope["headers"], TIMEOUT)
        scope.setdefault("state", {})["context"] = context
        scope["app"] = self._api  # for those who refuse a request before it gets there
        status = 499  # nginx's number for a client that went before its answer began

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])  # some give an HTTPStatus, which a console shows by name
                message["headers"] = [*message.get("headers", ()), *common_headers(context)]
            await send(message)

        self.active += 1
        try:
            if given_timeout is not None:
                if has_wrong_timeout(scope):
                    await WRONG_TIMEOUT.send(send_with_headers)
                    return
                context.deadline = started + min(self._timeout, int(given_timeout) / 1000)
            await self._app(scope, receive, send_with_headers)
        finally:
            self.active -= 1
            record = HttpRecord(
                method=scope["method"] if scope["method"] in _METHODS else "_OTHER",
                route=route_of(scope) or UNMATCHED,
                status=status,
                request_id=context.request_id,
                started=started,
                finished=time.monotonic(),
                inference=context.record,
                trace_id=context.trace_id,
                span_id=context.span_id,
            )
            self._observer.http_finished(record)


def request_context(headers: Headers, started: float, timeout: float) -> RequestContext:
    """That of a request whose head was complete at `started`; its id is the caller's, if fit to be echoed."""
    given = _given(headers, b"x-request-id")
    fit = given is not None and _REQUEST_ID.fullmatch(given)
    return RequestContext(given.decode("ascii") if given and fit else _new_id(), started, started + timeout)


def has_wrong_timeout(scope: Scope) -> bool:
    """Whether the caller's deadline cannot be understood."""
    given = _given(scope["headers"], TIMEOUT)
    return given is not None and not _TIMEOUT_MS.fullmatch(given)


def _new_id() -> str:
    """128 random bits, as in a UUID but without asking the kernel: they need not be hard to guess."""
    return f"{random.getrandbits(128):032x}"


def _given(headers: Headers, wanted: bytes) -> bytes | None:
    """The last of these headers."""
    given = None
    for name, value in headers:
        if name == wanted:
            given = value
    return given


def common_headers(context: RequestContext) -> Headers:
    """What each answer says of its request."""
    headers = [(b"x-request-id", context.request_id.encode())]
    if context.trace_id:
        headers.append((b"x-trace-id", context.trace_id.encode()))
    if record := context.record:
        stages = record.stages.durations()
        timing = ", ".join(f"{name};dur={seconds * 1000:.2f}" for name, seconds in stages.items())
        if timing:
            headers.append((b"server-timing", timing.encode()))
        if record.truncated_inputs:
            headers.append((b"x-truncated-inputs", str(record.truncated_inputs).encode()))
    return headers


def route_of(scope: Scope) -> str | None:
    """The template of the route that the request is for, never the raw path; None if there is none."""
    if "route" not in scope and "app" in scope:  # refused before it was routed, or by all routes
        found = (route for route in scope["app"].routes if route.matches(scope)[0] is not Match.NONE)
        scope["route"] = next(found, None)
    return getattr(scope.get("route"), "path_format", None)
