"""How metrics leave the service: `/metrics`, in the format that the scraper asks for."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics import exposition as openmetrics
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def metrics_route(registry: CollectorRegistry) -> Route:
    """`GET /metrics`: OpenMetrics with exemplars if the Accept header names it, else Prometheus' text format.

    Prometheus names OpenMetrics by default. Its other wishes, as to version and escaping, make no difference
    to our names, and a version that nobody has heard of must not fail the scrape as in prometheus_client.
    """

    async def metrics(request: Request) -> Response:
        if "application/openmetrics-text" in request.headers.get("accept", ""):
            body = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
            return Response(body, media_type=openmetrics.CONTENT_TYPE_LATEST)
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return Route("/metrics", metrics, middleware=[Middleware(GZipMiddleware, compresslevel=1)])
