"""What pods may do: to their node, and to the API server."""

from collections.abc import Iterator
from typing import Any

from tests.manifests.kustomize import Object, Objects
from tests.manifests.objects import Pod, called, of_kind, pods

VOLUMES = frozenset(
    {
        *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image"),
        *("persistentVolumeClaim", "projected", "secret"),
    }
)
READING = frozenset({"get", "list", "watch"})
CREATED = frozenset({"tokenreviews", "subjectaccessreviews"})
"""To ask the API server who a caller is and what it may, one creates these; nothing is kept."""


def restricted(objects: Objects) -> Iterator[str]:
    """Each namespace enforces Pod Security's profile `restricted`, and each pod is within it.

    The controls are those of https://kubernetes.io/docs/concepts/security/pod-security-standards/, and a
    root file system that nobody writes to.
    """
    for namespace in of_kind(objects, "Namespace"):
        labels = namespace["metadata"].get("labels", {})
        if labels.get("pod-security.kubernetes.io/enforce") != "restricted":
            yield f"{called(namespace)} does not enforce restricted"
    enforced = {namespace["metadata"]["name"] for namespace in of_kind(objects, "Namespace")}
    for pod in pods(objects):
        if pod.namespace not in enforced:
            yield f"{called(pod.owner)} is in a namespace that is not ours"
        for problem in (*_of_pod(pod), *(p for c in pod.containers for p in _of_container(pod, c))):
            yield f"{called(pod.owner)}: {problem}"


def _of_pod(pod: Pod) -> Iterator[str]:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.spec.get(name):
            yield name
    for volume in pod.spec.get("volumes", []):
        if unknown := volume.keys() - VOLUMES - {"name"}:
            yield f"volume of kind {sorted(unknown)}"
    context = pod.spec.get("securityContext", {})
    if context.get("sysctls"):
        yield "sysctls"
    yield from _of_either(context)


def _of_container(pod: Pod, container: dict[str, Any]) -> Iterator[str]:
    context = container.get("securityContext", {})
    of_pod = pod.spec.get("securityContext", {})
    yield from _of_either(context)
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if context.get("privileged") or context.get("procMount", "Default") != "Default":
        yield "privileged"
    capabilities = context.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []) or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "capabilities"
    if not context.get("runAsNonRoot", of_pod.get("runAsNonRoot")):
        yield "runAsNonRoot"
    # An image whose user has only a name is refused unless a number is given here
    if context.get("runAsUser", of_pod.get("runAsUser")) is None:
        yield "runAsUser"
    profile = context.get("seccompProfile", of_pod.get("seccompProfile", {}))
    if profile.get("type") not in {"RuntimeDefault", "Localhost"}:
        yield "seccompProfile"
    if not context.get("readOnlyRootFilesystem"):
        yield "readOnlyRootFilesystem"
    yield from _of_network(container)


def _of_network(container: dict[str, Any]) -> Iterator[str]:
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "hostPort"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if "host" in container.get(probe, {}).get("httpGet", {}):
            yield f"{probe} names a host"


def _of_either(context: dict[str, Any]) -> Iterator[str]:
    if context.get("runAsUser") == 0:
        yield "runs as root"
    if context.get("seccompProfile", {}).get("type") == "Unconfined":
        yield "seccompProfile"
    if context.get("appArmorProfile", {}).get("type") == "Unconfined":
        yield "appArmorProfile"
    if context.get("windowsOptions", {}).get("hostProcess"):
        yield "hostProcess"
    if context.get("seLinuxOptions"):
        yield "seLinuxOptions"


def least(objects: Objects) -> Iterator[str]:
    """Roles only read, name what they read, and are bound to an account of a pod with a token."""
    for role in of_kind(objects, "Role", "ClusterRole"):
        for rule in role.get("rules", []):
            for problem in _of_rule(rule):
                yield f"{called(role)}: {problem}"
    users = {
        (pod.namespace, pod.spec.get("serviceAccountName", "default")) for pod in pods(objects) if pod.token
    }
    bound = set()
    for binding in of_kind(objects, "RoleBinding", "ClusterRoleBinding"):
        bound.add(_role_of(binding))
        for subject in binding["subjects"]:
            if (subject.get("namespace"), subject["name"]) not in users and subject["kind"] != "User":
                yield f"{called(binding)} is for {subject['name']}, which no pod with a token is"
    for role in of_kind(objects, "Role", "ClusterRole"):
        metadata = role["metadata"]
        if (role["kind"], metadata.get("namespace"), metadata["name"]) not in bound:
            yield f"{called(role)} is bound to nobody"


def _of_rule(rule: dict[str, Any]) -> Iterator[str]:
    resources, verbs = set(rule.get("resources", [])), set(rule["verbs"])
    if "*" in {*resources, *verbs, *rule.get("apiGroups", []), *rule.get("nonResourceURLs", [])}:
        yield "a wildcard"
    if "secrets" in resources or "nodes/proxy" in resources:
        yield f"may read {sorted(resources)}"
    if verbs - READING and not (verbs == {"create"} and resources <= CREATED):
        yield f"may {sorted(verbs - READING)}"


def _role_of(binding: Object) -> tuple[str, str | None, str]:
    role = binding["roleRef"]
    namespace = binding["metadata"].get("namespace") if role["kind"] == "Role" else None
    return role["kind"], namespace, role["name"]
