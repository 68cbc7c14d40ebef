"""What is run."""

from collections.abc import Iterator

from app import __version__
from tests.manifests.kustomize import Objects
from tests.manifests.objects import SERVICE, called, pods

PINS = {
    "quay.io/prometheus/prometheus": "v3.14.0",
    "quay.io/prometheus/alertmanager": "v0.34.0",
    "grafana/grafana": "13.1.3",
    "quay.io/jaegertracing/jaeger": "2.20.0",
    "registry.k8s.io/kube-state-metrics/kube-state-metrics": "v2.20.0",
    "registry.k8s.io/prometheus-adapter/prometheus-adapter": "v0.12.0",
}


def pinned(objects: Objects) -> Iterator[str]:
    """Each image is of the version that was tested; the service's is this version of it."""
    for pod in pods(objects):
        for container in pod.containers:
            name, _, tag = container["image"].partition(":")
            cuda = "nvidia.com/gpu" in container["resources"]["limits"]
            wanted = f"{__version__}{'-cuda' if cuda else ''}" if name == SERVICE else PINS.get(name)
            if tag != wanted:
                yield f"{called(pod.owner)}: {container['image']}"


def bounded(objects: Objects) -> Iterator[str]:
    """Each container has a memory limit, all of it requested, so that none is killed for another's sake."""
    for pod in pods(objects):
        for container in pod.containers:
            resources = container.get("resources", {})
            memory = resources.get("limits", {}).get("memory")
            if memory is None or resources["requests"].get("memory") != memory:
                yield f"{called(pod.owner)}: memory of {container['name']}"
