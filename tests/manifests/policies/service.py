"""The service's own pods: settings, probes, the time to drain, and what they may use."""

import asyncio
import os
import re
from collections.abc import Iterator
from unittest.mock import patch

import httpx
from opentelemetry.sdk import environment_variables

from app import __version__
from app.errors import SettingsInvalid
from app.main import App, create_app
from app.settings import Settings, read_settings, variables
from app.telemetry.tracing import Tracing
from tests.fakes import FakeRunner
from tests.manifests.kustomize import Objects
from tests.manifests.objects import SERVICE, pod
from tests.running import settings_for

OPENTELEMETRY = frozenset(name for name in vars(environment_variables) if name.startswith("OTEL_"))
OF_THE_IMAGE = {"APP_MODEL": "/models/fake", "APP_HOST": "0.0.0.0", "APP_OPS_HOST": "0.0.0.0"}
"""What the image sets; the manifests may say otherwise."""
IN_A_POD = {
    "metadata.name": "vitrine-0",
    "metadata.namespace": "vitrine",
    "metadata.uid": "u",
    "spec.nodeName": "n",
}
IDENTITY = {
    "k8s.pod.name": "vitrine-0",
    "k8s.namespace.name": "vitrine",
    "k8s.pod.uid": "u",
    "k8s.node.name": "n",
}
REFERENCE = re.compile(r"\$\((\w+)\)")


def environment(objects: Objects) -> Iterator[str]:
    """Each variable is a setting that the service knows, with a value that it takes."""
    known = {name for name, _ in variables()} | OPENTELEMETRY
    given = _environment(objects)
    for name, value in given.items():
        if name.startswith(("APP_", "OTEL_")) and name not in known:
            yield f"there is no setting {name}"
        if REFERENCE.search(value):
            yield f"{name} names a variable that does not stand before it: {value}"
    try:
        _settings(objects)
        with patch.dict(os.environ, given, clear=True):
            tracing = Tracing(version=__version__, flush_timeout=0.1)
            asyncio.run(tracing.close())
            attributes = _resource_attributes(given)
    except SettingsInvalid as error:
        yield str(error)
        return
    if not tracing.observers:
        yield "no traces are sent"
    for name, value in IDENTITY.items():
        if attributes.get(name) != value:
            yield f"spans do not say {name}"
    if "vitrine-0" not in attributes.get("service.instance.id", ""):
        yield "spans do not say which instance"


def ports(objects: Objects) -> Iterator[str]:
    """The container's ports are those at which the service listens."""
    settings = _settings(objects)
    if pod(objects, SERVICE).ports != {"http": settings.port, "ops": settings.ops_port}:
        yield f"it listens at {settings.port} and {settings.ops_port}"
    for name, host in (("APP_HOST", settings.host), ("APP_OPS_HOST", settings.ops_host)):
        if host not in {"0.0.0.0", "::"}:
            yield f"{name}={host}: nobody outside the container is answered"


def probes(objects: Objects) -> Iterator[str]:
    """Each probe asks what the running app answers, and means what its name says."""
    app = create_app(settings_for(), runner=FakeRunner())
    for probe, path in (
        ("startupProbe", "/startupz"),
        ("readinessProbe", "/readyz"),
        ("livenessProbe", "/livez"),
    ):
        (container,) = pod(objects, SERVICE).containers
        if probe not in container:
            yield f"no {probe}"
            continue
        asked = container[probe]["httpGet"]
        port = pod(objects, SERVICE).ports.get(asked["port"])
        status = asyncio.run(_status(app, port, asked["path"]))
        if status == 404:
            yield f"{probe}: nothing answers {asked['path']} at {asked['port']}"
        elif asked["path"] != path:
            yield f"{probe} asks {asked['path']}"


def drain(objects: Objects) -> Iterator[str]:
    """A pod is not killed before all that it accepted is answered, and routes have changed by then."""
    settings = _settings(objects)
    (container,) = pod(objects, SERVICE).containers
    sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    takes = sleep + settings.drain_delay + settings.drain_timeout + settings.telemetry.flush_timeout
    grace = pod(objects, SERVICE).spec.get("terminationGracePeriodSeconds", 30)
    if grace <= takes:
        yield f"the grace period of {grace} s is over before the drain's {takes:g} s are"
    if sleep + settings.drain_delay < 5:
        yield "it leaves before its routes have changed"


def capacity(objects: Objects) -> Iterator[str]:
    """It has what it asks for, in whole CPUs: it runs a batch on each, and drops a fraction."""
    (container,) = pod(objects, SERVICE).containers
    resources = container["resources"]
    if resources["requests"] != resources["limits"]:
        yield "requests are not the limits"
    if not str(resources["limits"].get("cpu", "")).isdigit():
        yield f"cpu: {resources['limits'].get('cpu')} is no whole number"
    rolling = pod(objects, SERVICE).owner["spec"]["strategy"]["rollingUpdate"]
    if rolling["maxUnavailable"] != 0:
        yield "a rollout takes capacity away"
    if "replicas" in pod(objects, SERVICE).owner["spec"]:
        yield "an apply undoes the autoscaler's count"


def _environment(objects: Objects) -> dict[str, str]:
    """As the container gets it from Kubernetes."""
    (container,) = pod(objects, SERVICE).containers
    given: dict[str, str] = {}
    for variable in container["env"]:
        if "value" in variable:
            value = REFERENCE.sub(lambda name: given.get(name[1], name[0]), variable["value"])
        elif reference := variable["valueFrom"].get("fieldRef"):
            value = IN_A_POD[reference["fieldPath"]]
        else:
            value = "a-secret"
        given[variable["name"]] = value
    return given


def _settings(objects: Objects) -> Settings:
    with patch.dict(os.environ, {**OF_THE_IMAGE, **_environment(objects)}, clear=True):
        return read_settings()


def _resource_attributes(given: dict[str, str]) -> dict[str, str]:
    pairs = given.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


async def _status(app: App, port: int | None, path: str) -> int:
    side = {8000: app.api, 9000: app.ops}.get(port or 0)
    if side is None:
        return 404
    transport = httpx.ASGITransport(side)
    async with httpx.AsyncClient(transport=transport, base_url="http://pod") as client:
        return (await client.get(path)).status_code
