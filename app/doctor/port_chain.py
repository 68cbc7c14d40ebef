"""A connection's way through the manifests: route → Service → selector → containerPort → process."""

from collections.abc import Iterable, Iterator

from app.doctor.address import is_loopback
from app.doctor.manifests import Container, InvalidManifestError, Objects, Pod, Service
from app.doctor.scope import Scope
from app.doctor.walk import Broken, Ok, Result, Skipped

DEFAULTS = {"APP_PORT": "8000", "APP_OPS_PORT": "9000"}
INJECTED = "app"
"""A Service of this name makes Kubernetes set APP_PORT, to something like tcp://10.0.0.1:80."""


def look(scope: Scope) -> Result:
    """Read the manifests that were given, and follow the way."""
    if scope.manifests is None:
        return Skipped("no manifests are given: `kubectl kustomize . | python -m app doctor --manifests -`")
    try:
        objects = Objects(scope.manifests.text)
    except InvalidManifestError as error:
        return Broken(
            (f"{scope.manifests.source}: {error}",),
            "Render them anew, and see what `kubectl kustomize` says on stderr.",
        )
    return judge(objects)


def judge(objects: Objects) -> Result:
    """The first link that is broken, from the process outwards, with all places where it is."""
    if not objects.pods or not objects.services:
        return Broken(
            (f"there are {len(objects.pods)} workloads and {len(objects.services)} Services",),
            "Render the overlay as a whole: a Service and what it selects belong together.",
        )
    for link, remedy in LINKS:
        if evidence := tuple(link(objects)):
            return Broken(evidence, remedy)
    ports = sum(len(service.spec.ports) for service in objects.services)
    return Ok((f"{ports} ports of {len(objects.services)} Services lead to pods that listen there",))


def bound_to_loopback(objects: Objects) -> Iterator[str]:
    """Processes that only their own container could reach."""
    for pod, container, environment in _ours(objects):
        for name in ("APP_HOST", "APP_OPS_HOST"):
            if is_loopback(host := environment.get(name, "0.0.0.0")):
                yield f"{pod.owner}, container {container.name}: {name}={host}"


def overwritten_by_links(objects: Objects) -> Iterator[str]:
    """Pods whose APP_PORT Kubernetes would set, after a Service's name."""
    inject = {service.metadata.namespace for service in objects.services if service.metadata.name == INJECTED}
    for pod, container, environment in _ours(objects):
        if pod.namespace in inject and pod.service_links and "APP_PORT" not in environment:
            yield f"{pod.owner}, container {container.name}: the Service {INJECTED} sets its APP_PORT"


def nobody_listens(objects: Objects) -> Iterator[str]:
    """Container ports on which our process does not listen."""
    for pod, container, environment in _ours(objects):
        listens = {name: environment.get(name, default) for name, default in DEFAULTS.items()}
        for port in container.ports:
            if str(port.number) not in listens.values():
                where = ", ".join(f"{name}={value}" for name, value in listens.items())
                yield f"{pod.owner}, container {container.name}: containerPort {port.number}, but {where}"


def selects_nothing(objects: Objects) -> Iterator[str]:
    """Services whose selector fits no pod."""
    for service in objects.services:
        if service.spec.selector and not _selected(service, objects.pods):
            yield f"Service {service.metadata.name} selects {_labels(service.spec.selector)}" + _near(
                service, objects.pods
            )


def leads_nowhere(objects: Objects) -> Iterator[str]:
    """Services' target ports that the pods do not have."""
    for service in objects.services:
        for pod in _selected(service, objects.pods):
            for port in service.spec.ports:
                if not _has(pod.containers, port.target):
                    name, have = service.metadata.name, _ports(pod.containers)
                    yield f"Service {name}: targetPort {port.target}, but {pod.owner} has {have}"


def asks_nobody(objects: Objects) -> Iterator[str]:
    """Probes of ports that their container does not have."""
    for pod in objects.pods:
        for container in pod.containers:
            for name, probe in container.probes():
                if probe.port is not None and not _has([container], probe.port):
                    where, have = f"{pod.owner}, container {container.name}", _ports([container])
                    yield f"{where}: {name} asks port {probe.port}, it has {have}"


def routes_to_nothing(objects: Objects) -> Iterator[str]:
    """Routes to Services or ports that are not there."""
    services = {(service.metadata.namespace, service.metadata.name): service for service in objects.services}
    for route in objects.routes:
        for backend in (backend for rule in route.spec.rules for backend in rule.backendRefs):
            service = services.get((backend.namespace or route.metadata.namespace, backend.name))
            name = f"{route.kind} {route.metadata.name}"
            if backend.kind != "Service":
                continue
            if service is None:
                yield f"{name}: there is no Service {backend.name}"
            elif backend.port not in {port.port for port in service.spec.ports}:
                yield f"{name}: Service {backend.name} has no port {backend.port}"


LINKS = (
    (
        bound_to_loopback,
        "Set it to 0.0.0.0: the kubelet, Prometheus and callers come from outside of the container.",
    ),
    (overwritten_by_links, "Set enableServiceLinks: false in the pod, or name the Service otherwise."),
    (nobody_listens, "Make containerPort and the variable the same."),
    (selects_nothing, "Make the selector a part of the pod template's labels, in the same namespace."),
    (leads_nowhere, "Make targetPort the name of one of the pod's ports."),
    (asks_nobody, "Make the probe's port the name of one of the container's ports."),
    (
        routes_to_nothing,
        "Make the route's backendRefs name a Service of its namespace, and one of its ports.",
    ),
)
"""From the process outwards, each with what to do."""


def _ours(objects: Objects) -> Iterator[tuple[Pod, Container, dict[str, str]]]:
    """The containers that run Vitrine: by their name, their image or their settings."""
    for pod in objects.pods:
        for container in pod.containers:
            environment = objects.environment(pod, container)
            named = "vitrine" in f"{container.name} {container.image.rpartition('/')[2]}"
            if named or any(name.startswith("APP_") for name in environment):
                yield pod, container, environment


def _selected(service: Service, pods: Iterable[Pod]) -> list[Pod]:
    selector = service.spec.selector.items()
    if not selector:
        return []
    namespace = service.metadata.namespace
    return [pod for pod in pods if pod.namespace == namespace and selector <= pod.labels.items()]


def _has(containers: Iterable[Container], port: int | str) -> bool:
    return any(port in (declared.name, declared.number) for one in containers for declared in one.ports)


def _ports(containers: Iterable[Container]) -> str:
    declared = [port for container in containers for port in container.ports]
    return ", ".join(f"{port.name} {port.number}".strip() for port in declared) or "none"


def _near(service: Service, pods: Iterable[Pod]) -> str:
    """The pods of the namespace, for comparison."""
    same = [pod for pod in pods if pod.namespace == service.metadata.namespace]
    shown = "; ".join(f"{pod.owner} has {_labels(pod.labels)}" for pod in same[:3])
    return f"; {shown}" if shown else f"; there is no workload in namespace {service.metadata.namespace}"


def _labels(labels: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in labels.items()) or "nothing"
