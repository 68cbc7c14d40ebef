"""What points at something points at something that is there."""

from collections.abc import Iterator

from tests.manifests.kustomize import Objects
from tests.manifests.objects import Pod, called, of_kind, pods, selects

TO_BE_MADE = frozenset({"vitrine-api-keys"})
"""Secrets without which a component's pods are not to start."""


def services(objects: Objects) -> Iterator[str]:
    """A Service selects pods, and each of its ports is one of theirs."""
    for service in of_kind(objects, "Service"):
        selected = [
            pod
            for pod in pods(objects)
            if pod.namespace == service["metadata"]["namespace"]
            and selects({"matchLabels": service["spec"]["selector"]}, pod.labels)
        ]
        if len(selected) != 1:
            yield f"{called(service)} selects {len(selected)} workloads"
        for port in service["spec"]["ports"]:
            target = port.get("targetPort", port["port"])
            if any(pod.port(target) is None for pod in selected):
                yield f"{called(service)}: targetPort {target} is no containerPort"


def selectors(objects: Objects) -> Iterator[str]:
    """Workloads select their own pods, as do spread constraints; budgets and policies select some."""
    for pod in pods(objects):
        if not selects(pod.owner["spec"]["selector"], pod.labels):
            yield f"{called(pod.owner)} does not select its own pods"
        for constraint in pod.spec.get("topologySpreadConstraints", []):
            if not selects(constraint["labelSelector"], pod.labels):
                yield f"{called(pod.owner)} is spread among others"
    for selecting in of_kind(objects, "PodDisruptionBudget", "NetworkPolicy"):
        spec = selecting["spec"]
        selector = spec.get("podSelector", spec.get("selector"))
        if not any(
            pod.namespace == selecting["metadata"]["namespace"] and selects(selector, pod.labels)
            for pod in pods(objects)
        ):
            yield f"{called(selecting)} selects nothing"


def targets(objects: Objects) -> Iterator[str]:
    """An autoscaler scales what is there; a route leads to a Service's port."""
    workloads = {(pod.namespace, pod.owner["kind"], pod.name) for pod in pods(objects)}
    for scaler in of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject"):
        target = scaler["spec"]["scaleTargetRef"]
        kind = target.get("kind", "Deployment")
        if (scaler["metadata"]["namespace"], kind, target["name"]) not in workloads:
            yield f"{called(scaler)} scales {target['name']}, which is not there"
    served = {
        (service["metadata"]["namespace"], service["metadata"]["name"], port["port"])
        for service in of_kind(objects, "Service")
        for port in service["spec"]["ports"]
    }
    for route in of_kind(objects, "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                address = (route["metadata"]["namespace"], backend["name"], backend["port"])
                if address not in served:
                    yield f"{called(route)} leads to {address}, which is no Service"
    for api in of_kind(objects, "APIService"):
        service = api["spec"]["service"]
        if (service["namespace"], service["name"], service.get("port", 443)) not in served:
            yield f"{called(api)} is served by {service['name']}, which is no Service"


def references(objects: Objects) -> Iterator[str]:
    """ConfigMaps, their keys, Secrets, accounts and volumes that a pod names are there."""
    for pod in pods(objects):
        for problem in (*_volumes(pod, objects), *_environment(pod, objects)):
            yield f"{called(pod.owner)}: {problem}"
        account = pod.spec.get("serviceAccountName", "default")
        if account != "default" and not _exists(objects, "ServiceAccount", pod.namespace, account):
            yield f"{called(pod.owner)}: there is no ServiceAccount {account}"


def _volumes(pod: Pod, objects: Objects) -> Iterator[str]:
    volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", [])}
    claims = {claim["metadata"]["name"] for claim in pod.owner["spec"].get("volumeClaimTemplates", [])}
    mounts = [mount for container in pod.containers for mount in container.get("volumeMounts", [])]
    for name in {mount["name"] for mount in mounts} ^ (volumes.keys() | claims):
        yield f"volume {name} is only mounted or only there"
    for name, volume in volumes.items():
        if source := volume.get("configMap"):
            keys = _keys(objects, "ConfigMap", pod.namespace, source["name"])
            if keys is None:
                yield f"there is no ConfigMap {source['name']}"
                continue
            wanted = {item["key"] for item in source.get("items", [])}
            wanted |= {mount["subPath"] for mount in mounts if mount["name"] == name and "subPath" in mount}
            if missing := wanted - keys:
                yield f"ConfigMap {source['name']} has no {sorted(missing)}"
        if (source := volume.get("secret")) and not source.get("optional"):
            yield f"Secret {source['secretName']} is not there at the first apply"


def _environment(pod: Pod, objects: Objects) -> Iterator[str]:
    for container in pod.containers:
        sources = [variable.get("valueFrom", {}) for variable in container.get("env", [])]
        for source in (*sources, *container.get("envFrom", [])):
            if found := source.get("configMapKeyRef") or source.get("configMapRef"):
                keys = _keys(objects, "ConfigMap", pod.namespace, found["name"])
                if keys is None or ("key" in found and found["key"] not in keys):
                    yield f"there is no ConfigMap {found['name']} with {found.get('key', 'it')}"
            found = source.get("secretKeyRef") or source.get("secretRef")
            if found and not found.get("optional") and found["name"] not in TO_BE_MADE:
                yield f"Secret {found['name']} is not there at the first apply"


def _keys(objects: Objects, kind: str, namespace: str, name: str) -> set[str] | None:
    for found in of_kind(objects, kind):
        if (found["metadata"]["namespace"], found["metadata"]["name"]) == (namespace, name):
            return set(found["data"])
    return None


def _exists(objects: Objects, kind: str, namespace: str, name: str) -> bool:
    return any(
        (found["metadata"]["namespace"], found["metadata"]["name"]) == (namespace, name)
        for found in of_kind(objects, kind)
    )
