"""The way of an inference request to its route: one look into a dictionary.

FastAPI's own way leads through a dozen layers, past one route after the other, and again through all layers
each time that the request's task goes on (docs/adr/0007). Every other request still goes there.
"""

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from app.api.endpoint import JsonRoute


class Dispatch:
    """The ASGI application of all routes."""

    def __init__(self, api: FastAPI, *, model: str) -> None:
        """`model` is the public name, as it stands in paths."""
        self._api = api
        self._model = model
        self.routes = {
            route.path_format.replace("{model}", model): route
            for route in api.routes
            if isinstance(route, JsonRoute) and route.body_type and route.param_convertors.keys() <= {"model"}
        }
        """Those of inference, by path; their method is POST."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        route = self.routes.get(scope["path"]) if scope["type"] == "http" else None
        if route is None or scope["method"] != "POST":
            await self._api(scope, receive, send)
            return
        scope["route"] = route
        scope["path_params"] = {"model": self._model} if route.param_convertors else {}
        await route.app(scope, receive, send)
