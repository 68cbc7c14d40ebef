"""The objects as the policies look at them: pods, what selects them, and what they are called."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.manifests.kustomize import Object, Objects

WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "Job"})
SERVICE = "vitrine"


@dataclass(frozen=True)
class Pod:
    """One that a workload makes."""

    owner: Object

    @property
    def name(self) -> str:
        return str(self.owner["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.owner["metadata"]["namespace"])

    @property
    def labels(self) -> dict[str, str]:
        labels: dict[str, str] = self.owner["spec"]["template"]["metadata"]["labels"]
        return labels

    @property
    def spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = self.owner["spec"]["template"]["spec"]
        return spec

    @property
    def containers(self) -> list[dict[str, Any]]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def ports(self) -> dict[str, int]:
        """Numbers of the containers' ports, by their names."""
        return {
            port["name"]: port["containerPort"]
            for container in self.containers
            for port in container.get("ports", [])
        }

    @property
    def token(self) -> bool:
        """Whether it may speak to the API server."""
        return bool(self.spec.get("automountServiceAccountToken", True))

    def port(self, name_or_number: str | int) -> int | None:
        """The number of one of its ports."""
        if isinstance(name_or_number, str):
            return self.ports.get(name_or_number)
        return name_or_number if name_or_number in self.ports.values() else None

    def listens(self, number: int, protocol: str) -> bool:
        return any(
            (port["containerPort"], port.get("protocol", "TCP")) == (number, protocol)
            for container in self.containers
            for port in container.get("ports", [])
        )

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def pods(objects: Objects) -> list[Pod]:
    return [Pod(found) for found in objects if found["kind"] in WORKLOADS]


def pod(objects: Objects, name: str) -> Pod:
    (found,) = (found for found in pods(objects) if found.name == name)
    return found


def of_kind(objects: Objects, *kinds: str) -> Iterator[Object]:
    return (found for found in objects if found["kind"] in kinds)


def called(found: Object) -> str:
    """As kubectl says it."""
    metadata = found["metadata"]
    namespace = f"{metadata['namespace']}/" if "namespace" in metadata else ""
    return f"{found['kind']} {namespace}{metadata['name']}"


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a label selector (matchLabels, matchExpressions; an empty one selects all) fits."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for expression in selector.get("matchExpressions", []):
        if expression["operator"] != "In":
            raise NotImplementedError(expression["operator"])
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return True
