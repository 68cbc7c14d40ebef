"""How metrics leave the service, in the format that the scraper asks for, and how such a page is read."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Samples = dict[str, list[tuple[dict[str, str], float]]]
"""Labels and value of each sample, by the metric's name."""


def metrics_route(registry: CollectorRegistry) -> Route:
    """`GET /metrics`: OpenMetrics with exemplars if the Accept header names it, else Prometheus' text format.

    Prometheus names OpenMetrics by default. Versions that it lists are not looked at: prometheus_client's own
    negotiation fails over one that it cannot read.
    """

    async def metrics(request: Request) -> Response:
        if "application/openmetrics-text" in request.headers.get("accept", ""):
            # None of our names needs to be escaped, and a third of a scrape is saved. It keeps the loop for
            # about 4 ms; on a thread it would keep the interpreter's lock for as long.
            body = openmetrics.generate_latest(registry, openmetrics.ALLOWUTF8)  # type: ignore[no-untyped-call]
            return Response(body, media_type=openmetrics.CONTENT_TYPE_LATEST)
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return Route("/metrics", metrics, middleware=[Middleware(GZipMiddleware, compresslevel=1)])


def read_samples(text: str) -> Samples:
    """The samples of a page in Prometheus' text format, by name. Raises ValueError if it is another."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found
