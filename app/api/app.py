"""The two HTTP applications: the API, and the operations port."""

import time
from collections.abc import Sequence

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.routing import BaseRoute

from app.api import cohere, errors, health, hub, hugging_face, open_inference, open_inference_metadata, openai
from app.health import Health
from app.inference import Inference
from app.settings import Settings

DESCRIPTION = """
An inference server behind glass. One model is served: the routes of its task answer, and the others say what
that task is. Every response carries `x-request-id` and `Server-Timing`; a request's deadline can be set by
`x-request-timeout-ms`.
"""

PROTOCOLS = (openai, hugging_face, cohere, open_inference, open_inference_metadata, hub, health)

# Spans and metrics are the observer's; FastAPI would make its own as soon as a tracer is set up.
NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}


def build_api(inference: Inference, probes: Health, settings: Settings, *, version: str) -> FastAPI:
    """All protocols, their documentation under `/docs`, and the health routes."""
    # Routes and not routers, since FastAPI matches an included router's routes three times for each request
    routes = [route for protocol in PROTOCOLS for route in protocol.router.routes]
    app = FastAPI(
        title="Vitrine",
        description=DESCRIPTION,
        version=version,
        routes=routes,
        redirect_slashes=False,
        telemetry=NO_TELEMETRY,
    )
    app.state.inference = inference
    app.state.health = probes
    app.state.settings = settings
    app.state.started = int(time.time())
    errors.install(app)
    return app


def build_ops(probes: Health, routes: Sequence[BaseRoute]) -> FastAPI:
    """The health routes again, for those who may not reach the API's port, and `routes`."""
    app = FastAPI(
        title="Vitrine operations",
        openapi_url=None,
        routes=[*health.router.routes, *routes],
        telemetry=NO_TELEMETRY,
    )
    app.state.health = probes
    errors.install(app)
    return app
