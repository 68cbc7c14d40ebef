"""The console's pages, rendered here from memory for whoever may reach the operations port."""

import time
from pathlib import Path
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from app.console.headers import SafeHeaders
from app.console.render import environment
from app.console.ring import Exchange, Ring
from app.console.state import StateReader
from app.console.waterfall import document, stage_bars

STATIC = Path(__file__).parent / "static"

LATEST, SLOWEST, FAILED, BATCHES = 20, 10, 12, 8
"""Rows of the overview's tables."""
FRESH = 0.5
"""Seconds for which the overview is not made anew, however many look at it."""


def build_console(ring: Ring, state: StateReader, *, trace_ui: str | None = None) -> Starlette:
    """The console as an application. `trace_ui` is the address of a trace, with `{trace_id}` in it."""
    pages = _Pages(ring, state, trace_ui)
    return Starlette(
        routes=[
            Route("/", pages.overview),
            Route("/state.json", pages.state),
            Route("/requests", pages.search),
            Route("/requests.json", pages.documents),
            Route("/requests/{request_id:path}", pages.request),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        exception_handlers={404: pages.missing},
        middleware=[Middleware(SafeHeaders)],
    )


class _Pages:
    def __init__(self, ring: Ring, state: StateReader, trace_ui: str | None) -> None:
        self._ring = ring
        self._state = state
        self._trace_ui = trace_ui
        self._templates = environment()
        self._overview = b""
        self._made = -FRESH

    async def overview(self, _request: Request) -> Response:
        """What the server does now."""
        now = time.monotonic()
        if now - self._made >= FRESH:
            self._overview = self._render(
                "overview.html",
                state=self._state.read(),
                latest=_rows(self._ring.latest(LATEST)),
                slowest=_rows(self._ring.slowest(SLOWEST, now)),
                failed=_rows(self._ring.failed(FAILED)),
                batches=self._ring.batches(BATCHES),
            )
            self._made = now
        return HTMLResponse(self._overview)

    async def state(self, _request: Request) -> Response:
        """The numbers of the overview."""
        return _json(self._state.read())

    async def search(self, request: Request) -> Response:
        """One or several requests by `q`, a request id or a trace id."""
        return self._found(request, request.query_params.get("q", "").strip())

    async def request(self, request: Request) -> Response:
        """One request; or a list, if several have the id and `n` does not say which is meant."""
        return self._found(request, request.path_params["request_id"])

    async def documents(self, request: Request) -> Response:
        """The requests that `q` finds, else the latest."""
        text = request.query_params.get("q")
        found = self._ring.latest(LATEST) if text is None else self._ring.find(text.strip())
        return _json({"requests": [document(exchange) for exchange in found]})

    async def missing(self, _request: Request, _error: Exception) -> Response:
        """No such page."""
        return self._page("missing.html", 404, text=None)

    def _found(self, request: Request, text: str) -> Response:
        found = self._ring.find(text)
        number = request.query_params.get("n")
        chosen = [exchange for exchange in found if str(exchange.number) == number] or found
        if not chosen:
            return self._page("missing.html", 404, text=text)
        if len(chosen) > 1:
            return self._page("several.html", text=text, rows=_rows(chosen))
        exchange = chosen[0]
        trace = None
        if self._trace_ui and exchange.trace_id:
            trace = self._trace_ui.replace("{trace_id}", exchange.trace_id)
        return self._page(
            "request.html",
            exchange=exchange,
            bars=stage_bars(exchange),
            others=len(found) - 1,
            mates=self._ring.mates(exchange),
            trace_address=trace,
        )

    def _page(self, template: str, status: int = 200, **values: Any) -> Response:
        return HTMLResponse(self._render(template, **values), status)

    def _render(self, template: str, **values: Any) -> bytes:
        return self._templates.get_template(template).render(values).encode()


def _rows(exchanges: list[Exchange]) -> list[tuple[Exchange, list[Any]]]:
    return [(exchange, stage_bars(exchange)) for exchange in exchanges]


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
