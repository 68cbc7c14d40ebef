"""The running service: is it Vitrine, is it well, does it show its metrics, and does it answer?"""

import json
import secrets
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from app.doctor.scope import Scope
from app.doctor.walk import Broken, Ok, Result, Skipped
from app.doctor.web import NoAnswerError, ask, fetch
from app.telemetry.exposition import Samples, read_samples

NO_SERVICE = Skipped("no service is asked for: --service-url names one")
NO_OPS = Skipped("no operations port is asked for: --ops-url names one")
UNREACHABLE = (
    "See that the process runs, that it listens on more than its container's loopback (APP_HOST=0.0.0.0), "
    "and that a port-forward, Service or NetworkPolicy leads there; runbook incidents/service-unreachable.md."
)
PROBES = (
    ("livez", "Only a restart helps. The last log lines say why; runbook WorkerStalled."),
    (
        "startupz",
        "Wait, if it has just begun; else read its log. When a start fails, the process ends with a code and "
        "last words: runbook incidents/crash-loop-back-off.md.",
    ),
    ("readyz", "Runbook ModelNotReady; a server that drains ends by itself."),
)
"""The most serious first, each with what to do."""
TEXT = "Glass lets you see what holds."
Kind = Literal["embedding", "classifier", "token_classifier", "reranker"]
REQUESTS: dict[Kind, tuple[str, object]] = {
    "embedding": ("/embed", {"inputs": TEXT}),
    "classifier": ("/predict", {"inputs": TEXT}),
    "token_classifier": ("/predict", {"inputs": TEXT}),
    "reranker": ("/rerank", {"query": "What holds?", "texts": [TEXT]}),
}
"""By what `/info` calls the model's type."""


class Probe(BaseModel):
    """The body of a health route."""

    status: Literal["ok", "unavailable"]
    reason: str = ""


class Info(BaseModel):
    """What is needed of `/info`."""

    model_id: str
    model_type: Annotated[dict[Kind, object], Field(min_length=1)]


def identify(url: str) -> Probe:
    """What `/startupz` says. Raises `NoAnswerError` if it isn't Vitrine that answers."""
    return ask(url, "/startupz", Probe, statuses={200, 503})


def look_service(scope: Scope) -> Result:
    """Who answers at the service's address, and is it the API's port?"""
    if scope.service is None:
        return NO_SERVICE
    try:
        identify(scope.service.url)
        api = fetch(scope.service.url, "/v2")
    except NoAnswerError as error:
        return scope.service.missed(error, UNREACHABLE)
    if api.status == 404:
        return Broken(
            (f"{scope.service.url} is Vitrine's operations port: it has no API",),
            "Take the API's port, 8000 unless APP_PORT says otherwise.",
        )
    return Ok((f"Vitrine answers at {scope.service.url}",))


def look_health(scope: Scope) -> Result:
    """Ask the probes."""
    if scope.service is None:
        return NO_SERVICE
    try:
        for name, remedy in PROBES:
            probe = ask(scope.service.url, f"/{name}", Probe, statuses={200, 503})
            if probe.status != "ok":
                return Broken((f"/{name}: {probe.reason}",), remedy)
    except NoAnswerError as error:
        return Broken((str(error),), UNREACHABLE)
    return Ok(("live, started and ready",))


def look_metrics(scope: Scope) -> Result:
    """Read the operations port's metrics."""
    if scope.ops is None:
        return NO_OPS
    try:
        samples = scrape(scope.ops.url)
    except NoAnswerError as error:
        return scope.ops.missed(
            error,
            "See that it is the operations port (9000 unless APP_OPS_PORT says otherwise), and reachable.",
        )
    model = samples["inference_model_ready"][0][0].get("model_name")
    saturation = samples["inference_saturation_ratio"][0][1]
    return Ok((f"{sum(map(len, samples.values()))} series of {model}, saturation {saturation:.2f}",))


def scrape(url: str) -> Samples:
    """The metrics of a Vitrine. Raises `NoAnswerError` if it shows none, or others."""
    reply = fetch(url, "/metrics")
    if reply.status != 200:
        raise NoAnswerError("foreign", str(reply))
    try:
        samples = read_samples(reply.body.decode())
    except ValueError:
        raise NoAnswerError("foreign", f"{reply}, which is no metrics page") from None
    if not {"inference_model_ready", "inference_saturation_ratio", "telemetry_spans_total"} <= samples.keys():
        raise NoAnswerError("foreign", f"{url}/metrics is not Vitrine's: it has no inference_model_ready")
    return samples


def look_answer(scope: Scope) -> Result:
    """Send one small request."""
    if scope.service is None:
        return NO_SERVICE
    if not scope.request:
        return Skipped("no request is sent unless asked for by --request")
    try:
        return Ok((send_request(scope.service.url, scope.api_key),))
    except NoAnswerError as error:
        if " answers 401 " in str(error):
            return Broken((str(error),), "Name a file with a key of the service's by --api-key-file.")
        return Broken(
            (str(error),), "Find the request in the service's log or on its console, by its status."
        )


def send_request(url: str, api_key: str | None) -> str:
    """Have the model compute something, in a trace that is sampled. Raises `NoAnswerError`."""
    trace = secrets.token_hex(16)
    headers = {
        "content-type": "application/json",
        "traceparent": f"00-{trace}-{secrets.token_hex(8)}-01",
        **({"authorization": f"Bearer {api_key}"} if api_key else {}),
    }
    info = ask(url, "/info", Info, headers=headers)
    path, body = REQUESTS[next(iter(info.model_type))]
    reply = fetch(url, path, body=json.dumps(body).encode(), headers=headers)
    if reply.status != 200:
        raise NoAnswerError("foreign", str(reply))
    return f"{info.model_id} answers {path}, in trace {trace}"
