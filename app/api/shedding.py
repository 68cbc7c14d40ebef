"""What happens to an inference request while not even the smallest can be served in time.

It is refused by its head, before there is a task for it, and before it is routed, traced or read: in a flood
the refusals are many, and each costs the CPU time that those who are in wait for.
"""

import time
from collections.abc import Callable, Mapping

from starlette.responses import Response
from starlette.types import Scope

from app.api.endpoint import JsonRoute
from app.api.errors import vitrine_error_response
from app.edge.cycle import Answer
from app.errors import Overloaded
from app.inference import Inference
from app.observer import HttpRecord, Observer
from app.telemetry.http import common_headers, has_wrong_timeout, request_context


class LoadShedding:
    """A `app.edge.protocol.Shed`."""

    def __init__(
        self,
        routes: Mapping[str, JsonRoute],
        inference: Inference,
        observer: Observer,
        *,
        admits: Callable[[Scope], bool] | None,
    ) -> None:
        """`routes` are those of inference, by path; `admits` says whether the caller has a key."""
        self._inference = inference
        self._observer = observer
        self._admits = admits
        self._routes = routes
        self._error: Overloaded | None = None
        self._responses: dict[str, Response] = {}
        """To that error, by path."""

    def __call__(self, scope: Scope) -> Answer | None:
        """None if the application is to answer."""
        path: str = scope["path"]
        route = self._routes.get(path)
        if route is None or scope["method"] != "POST":
            return None
        error = self._inference.shed(route.task)
        if error is None or has_wrong_timeout(scope) or not (self._admits is None or self._admits(scope)):
            return None
        context = request_context(scope["headers"], time.monotonic(), 0.0)
        self._inference.refuse(context, route.task, error)
        response = self._response(path, error)
        self._observer.http_finished(
            HttpRecord(
                method="POST",
                route=route.path_format,  # as if it had been routed
                status=response.status_code,
                request_id=context.request_id,
                started=context.arrived,
                finished=time.monotonic(),
                inference=context.record,
            )
        )
        return Answer(
            response.status_code, [*response.raw_headers, *common_headers(context)], bytes(response.body)
        )

    def _response(self, path: str, error: Overloaded) -> Response:
        """One error is the answer to many requests: see `Admission.shed`."""
        if error is not self._error:
            self._error = error
            self._responses.clear()
        response = self._responses.get(path)
        if response is None:
            response = self._responses[path] = vitrine_error_response(path, error)
        return response
