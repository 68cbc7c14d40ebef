"""Who may speak to whom, as the NetworkPolicies together say."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from tests.manifests.kustomize import Object, Objects
from tests.manifests.objects import Pod, called, of_kind, pods, selects

ANYWHERE = "anywhere"
DNS = "kube-system/kube-dns"
OTHERS = {DNS: {"k8s-app": "kube-dns"}, "keda/keda-operator": {"app": "keda-operator"}}
"""Pods that are not ours, by their labels: what they may do is not for us to say."""
API_SERVER = frozenset({443, 6443})
OPEN_EGRESS = {
    "monitoring/prometheus": API_SERVER | {10250},
    "monitoring/kube-state-metrics": API_SERVER,
    "monitoring/prometheus-adapter": API_SERVER,
    "monitoring/alertmanager": frozenset({443}),
}
"""TCP ports at which pods may speak to whatever is no pod: the API server, kubelets, receivers."""
OPEN_INGRESS = {"vitrine/vitrine": frozenset({8000}), "monitoring/prometheus-adapter": frozenset({6443})}
"""TCP ports that whatever is no pod may speak to: clients, and the API server."""
ADDRESS = re.compile(r"\b([a-z][a-z-]*)\.([a-z][a-z-]*)\.svc:(\d+)")


@dataclass(frozen=True, order=True)
class Flow:
    """One way's permission, as one rule gives it."""

    source: str
    destination: str
    port: int
    protocol: str = "TCP"
    """Kubernetes' default, too."""

    @property
    def at(self) -> str:
        """The port, as Services write it."""
        return f"{self.port}/{self.protocol}"

    def within(self, tcp_ports: frozenset[int]) -> bool:
        return self.protocol == "TCP" and self.port in tcp_ports


def closed(objects: Objects) -> Iterator[str]:
    """In each namespace nothing is open, whatever pod comes, unless a policy says so."""
    for namespace in of_kind(objects, "Namespace"):
        name = namespace["metadata"]["name"]
        denying = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
        if not any(
            policy["spec"] == denying and policy["metadata"]["namespace"] == name
            for policy in of_kind(objects, "NetworkPolicy")
        ):
            yield f"{called(namespace)} is open"


def sent(objects: Objects) -> Iterator[str]:
    """What one pod may send, another may receive, at a port that it has; elsewhere only what must be."""
    receiving = _allowed(objects, "ingress")
    open_to_all = {(flow.destination, flow.at) for flow in receiving if flow.source == ANYWHERE}
    for flow in sorted(_allowed(objects, "egress")):
        yield from _has_port(flow, objects)
        if flow.destination == ANYWHERE:
            if not flow.within(OPEN_EGRESS.get(flow.source, frozenset())):
                yield f"{flow.source} may speak to anything at {flow.at}"
        elif flow.destination not in OTHERS and not (
            flow in receiving or (flow.destination, flow.at) in open_to_all
        ):
            yield f"{flow.source} may send to {flow.destination}:{flow.at}, which may not receive it"


def received(objects: Objects) -> Iterator[str]:
    """What one pod may receive, another may send; from elsewhere only what must be."""
    sending = _allowed(objects, "egress")
    for flow in sorted(_allowed(objects, "ingress")):
        yield from _has_port(flow, objects)
        if flow.source == ANYWHERE:
            if not flow.within(OPEN_INGRESS.get(flow.destination, frozenset())):
                yield f"anything may speak to {flow.destination}:{flow.at}"
        elif flow.source not in OTHERS and flow not in sending:
            yield f"{flow.destination}:{flow.at} may receive from {flow.source}, which may not send it"


def tokens(objects: Objects) -> Iterator[str]:
    """Who has rights at the API server can reach it, and nobody else has a token."""
    sending = _allowed(objects, "egress")
    users = {
        (subject.get("namespace"), subject["name"])
        for binding in of_kind(objects, "RoleBinding", "ClusterRoleBinding")
        for subject in binding["subjects"]
    }
    for pod in pods(objects):
        used = (pod.namespace, pod.spec.get("serviceAccountName", "default")) in users
        if pod.token != used:
            yield f"{pod} has a token without rights" if pod.token else f"{pod} has rights without a token"
        if used and not all(Flow(str(pod), ANYWHERE, port) in sending for port in API_SERVER):
            yield f"{pod} has no way to the API server"


def addresses(objects: Objects) -> Iterator[str]:
    """Each address that a pod is told is a Service's, and it may go there, and look it up."""
    sending = _allowed(objects, "egress")
    for pod in pods(objects):
        for name, namespace, port in sorted(set(ADDRESS.findall(_told(pod, objects)))):
            address = f"{name}.{namespace}.svc:{port}"
            if not {Flow(str(pod), DNS, 53, protocol) for protocol in ("UDP", "TCP")} <= sending:
                yield f"{pod} may not look {address} up"
            reached = _behind(objects, name, namespace, int(port))
            if not reached:
                yield f"{pod} is told {address}, where no Service is"
            for destination, target in reached:
                flow = Flow(str(pod), str(destination), target)
                if destination != pod and flow not in sending:
                    yield f"{pod} is told {address}, and may not go to {destination}:{target}"


def flows(objects: Objects) -> set[Flow]:
    """All that is allowed, for people to read."""
    return _allowed(objects, "egress") | {
        flow for flow in _allowed(objects, "ingress") if flow.source == ANYWHERE
    }


def _policies(pod: Pod, objects: Objects) -> Iterator[Object]:
    for policy in of_kind(objects, "NetworkPolicy"):
        if policy["metadata"]["namespace"] == pod.namespace and selects(
            policy["spec"]["podSelector"], pod.labels
        ):
            yield policy


def _allowed(objects: Objects, way: str) -> set[Flow]:
    found = set()
    for pod in pods(objects):
        for policy in _policies(pod, objects):
            for rule in policy["spec"].get(way, []):
                peers = rule.get("to" if way == "egress" else "from", [])
                others = [other for peer in peers for other in _peers(peer, pod.namespace, objects)]
                if peers and not others:
                    raise AssertionError(f"{called(policy)}: a peer that selects nothing")
                for other in others or [ANYWHERE]:
                    for port in rule["ports"]:
                        ends = (str(pod), other) if way == "egress" else (other, str(pod))
                        found.add(Flow(*ends, port["port"], port.get("protocol", "TCP")))
    return found


def _peers(peer: dict[str, Any], namespace: str, objects: Objects) -> list[str]:
    everyone = OTHERS | {str(pod): pod.labels for pod in pods(objects)}
    of_namespace = peer.get("namespaceSelector", {"matchLabels": _labels_of(namespace)})
    return [
        name
        for name, labels in everyone.items()
        if selects(of_namespace, _labels_of(name.partition("/")[0]))
        and selects(peer.get("podSelector", {}), labels)
    ]


def _labels_of(namespace: str) -> dict[str, str]:
    """What Kubernetes itself puts on each namespace."""
    return {"kubernetes.io/metadata.name": namespace}


def _has_port(flow: Flow, objects: Objects) -> Iterator[str]:
    for pod in pods(objects):
        if str(pod) == flow.destination and not pod.listens(flow.port, flow.protocol):
            yield f"{pod} has no port {flow.at}, which {flow.source} may speak to"


def _told(pod: Pod, objects: Objects) -> str:
    """All text that a pod is configured by."""
    maps = {volume["configMap"]["name"] for volume in pod.spec.get("volumes", []) if volume.get("configMap")}
    data = [
        text
        for found in of_kind(objects, "ConfigMap")
        if found["metadata"]["name"] in maps and found["metadata"]["namespace"] == pod.namespace
        for text in found["data"].values()
    ]
    return yaml.safe_dump(pod.spec, width=10_000) + "\n".join(data)


def _behind(objects: Objects, name: str, namespace: str, port: int) -> list[tuple[Pod, int]]:
    return [
        (pod, target)
        for service in of_kind(objects, "Service")
        if (service["metadata"]["name"], service["metadata"]["namespace"]) == (name, namespace)
        for offered in service["spec"]["ports"]
        if offered["port"] == port
        for pod in pods(objects)
        if pod.namespace == namespace and selects({"matchLabels": service["spec"]["selector"]}, pod.labels)
        if (target := pod.port(offered.get("targetPort", port))) is not None
    ]
