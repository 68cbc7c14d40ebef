"""What happens to an inference request while not even the smallest can be served in time.

It is refused before it is routed, traced or read: in a flood the refusals are many, and each costs the CPU
time that those who are in wait for.
"""

from collections.abc import Callable
from typing import cast

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.endpoint import JsonRoute
from app.api.errors import vitrine_error_response
from app.context import RequestContext
from app.inference import Inference


class LoadShedding:
    """ASGI middleware around the API."""

    def __init__(
        self,
        app: ASGIApp,
        api: FastAPI,
        inference: Inference,
        *,
        model: str,
        admits: Callable[[Scope], bool] | None,
    ) -> None:
        """`model` is the public name, as it stands in paths; `admits` says whether the caller has a key."""
        self._app = app
        self._inference = inference
        self._admits = admits
        routes = [route for route in api.routes if isinstance(route, JsonRoute) and route.body_type]
        self._routes = {route.path_format.replace("{model}", model): route for route in routes}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        route = self._routes.get(scope["path"]) if scope["type"] == "http" else None
        if route and scope["method"] == "POST" and (self._admits is None or self._admits(scope)):
            context = cast(RequestContext, scope["state"]["context"])
            if error := self._inference.shed(context, route.task):
                scope["route"] = route  # for the metrics, as if it had been routed
                await vitrine_error_response(scope["path"], error)(scope, receive, send)
                return
        await self._app(scope, receive, send)
