"""The rendered manifests, as far as a connection's way needs them: pods, their ports, Services and routes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator


class InvalidManifestError(Exception):
    """The text holds no Kubernetes objects, or one that is not understood: which, and why."""


class Part(BaseModel):
    """A part of an object; a key that is null counts as absent, as it does for Kubernetes."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None}


class Metadata(Part):
    """Who an object is."""

    name: str = ""
    namespace: str = "default"
    labels: dict[str, str] = {}


class ContainerPort(Part):
    """A port that a container says it listens on."""

    name: str = ""
    number: int = Field(alias="containerPort")


class _Handler(Part):
    port: int | str


class Probe(Part):
    """What the kubelet asks, and where."""

    httpGet: _Handler | None = None
    tcpSocket: _Handler | None = None
    grpc: _Handler | None = None

    @property
    def port(self) -> int | str | None:
        """None for a probe that runs a command."""
        handler = self.httpGet or self.tcpSocket or self.grpc
        return handler.port if handler else None


class _Variable(Part):
    name: str
    value: str = ""


class _Reference(Part):
    name: str


class _Variables(Part):
    prefix: str = ""
    configMapRef: _Reference | None = None


class Container(Part):
    """A container, as its pod's template has it."""

    name: str
    image: str = ""
    ports: list[ContainerPort] = []
    env: list[_Variable] = []
    envFrom: list[_Variables] = []
    restartPolicy: str = ""
    startupProbe: Probe | None = None
    readinessProbe: Probe | None = None
    livenessProbe: Probe | None = None

    def probes(self) -> Iterator[tuple[str, Probe]]:
        """Each by its key."""
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            if (probe := getattr(self, name)) is not None:
                yield name, probe


class _PodSpec(Part):
    containers: list[Container] = Field(min_length=1)
    initContainers: list[Container] = []
    enableServiceLinks: bool = True


class _Template(Part):
    metadata: Metadata = Metadata()
    spec: _PodSpec


class _WorkloadSpec(Part):
    template: _Template


class _Workload(Part):
    spec: _WorkloadSpec


class ServicePort(Part):
    """A port of a Service, and where in the pods it leads."""

    name: str = ""
    port: int
    targetPort: int | str | None = None

    @property
    def target(self) -> int | str:
        """A port's number or name."""
        return self.port if self.targetPort is None else self.targetPort


class _ServiceSpec(Part):
    selector: dict[str, str] = {}
    ports: list[ServicePort] = []


class Service(Part):
    """A Service."""

    metadata: Metadata
    spec: _ServiceSpec


class Backend(Part):
    """Where a route leads."""

    kind: str = "Service"
    name: str
    namespace: str = ""
    port: int | None = None


class _RouteRule(Part):
    backendRefs: list[Backend] = []


class _RouteSpec(Part):
    rules: list[_RouteRule] = []


class Route(Part):
    """A route of the Gateway API."""

    kind: str
    metadata: Metadata
    spec: _RouteSpec


class _ConfigMap(Part):
    metadata: Metadata
    data: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Pod:
    """The pods of a workload."""

    owner: str
    """Kind and name of the workload."""
    namespace: str
    labels: dict[str, str]
    containers: tuple[Container, ...]
    """Those that run beside each other, native sidecars among them."""
    service_links: bool


class Objects:
    """All objects of one rendering that have to do with connections."""

    def __init__(self, text: str) -> None:
        """Takes YAML documents. Raises `InvalidManifestError`."""
        self.pods: list[Pod] = []
        self.services: list[Service] = []
        self.routes: list[Route] = []
        self._config_maps: dict[tuple[str, str], dict[str, str]] = {}
        for document in _documents(text):
            try:
                self._add(document)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"]))
                name = (document.get("metadata") or {}).get("name", "")
                raise InvalidManifestError(f"{document['kind']} {name}: {where}: {first['msg']}") from None

    def environment(self, pod: Pod, container: Container) -> dict[str, str]:
        """Its variables, as far as the manifests tell them."""
        found: dict[str, str] = {}
        for source in container.envFrom:
            if source.configMapRef:
                data = self._config_maps.get((pod.namespace, source.configMapRef.name), {})
                found |= {f"{source.prefix}{name}": value for name, value in data.items()}
        return found | {variable.name: variable.value for variable in container.env}

    def _add(self, document: dict[str, Any]) -> None:
        match document["kind"]:
            case "Service":
                self.services.append(Service.model_validate(document))
            case "HTTPRoute" | "GRPCRoute":
                self.routes.append(Route.model_validate(document))
            case "ConfigMap":
                config = _ConfigMap.model_validate(document)
                self._config_maps[config.metadata.namespace, config.metadata.name] = config.data
            case "Pod":
                self._add_pod(document, _Template.model_validate(document))
            case "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job":
                self._add_pod(document, _Workload.model_validate(document).spec.template)

    def _add_pod(self, workload: dict[str, Any], pod: _Template) -> None:
        owner = Metadata.model_validate(workload.get("metadata") or {})
        sidecars = [container for container in pod.spec.initContainers if container.restartPolicy == "Always"]
        self.pods.append(
            Pod(
                owner=f"{workload['kind']} {owner.name}",
                namespace=owner.namespace,
                labels=pod.metadata.labels,
                containers=(*pod.spec.containers, *sidecars),
                service_links=pod.spec.enableServiceLinks,
            )
        )


def _documents(text: str) -> Iterator[dict[str, Any]]:
    if not text.strip():
        raise InvalidManifestError("there is nothing in it: what renders it has failed")
    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        raise InvalidManifestError(f"it is not YAML: {' '.join(str(error).split())}") from None
    for document in documents:
        items = (
            document.get("items") if isinstance(document, dict) and document.get("kind") == "List" else None
        )
        yield from map(_checked, items if isinstance(items, list) else [document])


def _checked(document: Any) -> dict[str, Any]:
    if isinstance(document, dict):
        kind, metadata = document.get("kind"), document.get("metadata")
        if isinstance(kind, str) and isinstance(metadata, dict | None):
            return document
    raise InvalidManifestError(f"it holds what is no Kubernetes object: {str(document)[:80]!r}")
