"""Each policy finds the faults that it is there for, planted one at a time into what the root gives."""

from dataclasses import dataclass
from typing import Any

import pytest

from tests.manifests.kustomize import Object, Objects, build
from tests.manifests.objects import of_kind
from tests.manifests.policies import images, network, rights, service, wiring
from tests.manifests.test_policies import POLICIES, Policy

TEMPLATE = "spec.template.spec"
CONTAINER = f"{TEMPLATE}.containers.0"
ENV = f"{CONTAINER}.env"
ABSENT = object()
"""As a value: what the path names is taken away."""


@dataclass(frozen=True)
class Fault:
    """One value of one object, changed."""

    policy: Policy
    target: str
    """Kind/name, or Kind/namespace/name."""
    path: str
    """Keys with dots between them; an item of a list goes by its place, or by its name."""
    value: Any
    found: str
    """What the policy says of it."""
    of: str = "."
    """What is applied."""

    def plant(self, objects: Objects) -> None:
        *steps, last = self.path.split(".")
        parent: Any = self._find(objects)
        for step in steps:
            parent = parent[_key(parent, step)]
        if self.value is ABSENT:
            del parent[_key(parent, last)]
        else:
            parent[_key(parent, last)] = self.value

    def _find(self, objects: Objects) -> Object:
        kind, *namespace, name = self.target.split("/")
        (found,) = (
            found
            for found in of_kind(objects, kind)
            if found["metadata"]["name"] == name
            and (not namespace or [found["metadata"]["namespace"]] == namespace)
        )
        return found

    def __str__(self) -> str:
        return f"{self.policy.__name__}-{self.target}-{self.path.removeprefix(TEMPLATE)}"


def _key(parent: Any, step: str) -> Any:
    if isinstance(parent, dict):
        return step
    return int(step) if step.isdigit() else [item["name"] for item in parent].index(step)


VITRINE, PROMETHEUS = "Deployment/vitrine", "StatefulSet/prometheus"
ROLE, POLICY = "Role/vitrine/prometheus", "NetworkPolicy/vitrine"

FAULTS = [
    Fault(wiring.services, "Service/vitrine", "spec.ports.0.targetPort", "htp", "is no containerPort"),
    Fault(wiring.services, "Service/vitrine", "spec.ports.0.targetPort", 8001, "is no containerPort"),
    Fault(wiring.services, "Service/grafana", "spec.selector", {"app": "grafana"}, "selects 0 workloads"),
    Fault(
        wiring.services,
        "Service/jaeger",
        "spec.selector",
        {"app.kubernetes.io/part-of": "vitrine"},
        "selects",
    ),
    Fault(wiring.services, VITRINE, f"{CONTAINER}.ports.0.name", "web", "targetPort http"),
    Fault(wiring.selectors, VITRINE, "spec.template.metadata.labels", {"app": "x"}, "its own pods"),
    Fault(
        wiring.selectors,
        "PodDisruptionBudget/vitrine",
        "spec.selector",
        {"matchLabels": {"app": "x"}},
        "nothing",
    ),
    Fault(
        *(wiring.selectors, VITRINE, f"{TEMPLATE}.topologySpreadConstraints.0.labelSelector"),
        *({"matchLabels": {"app": "x"}}, "is spread among others"),
    ),
    Fault(
        wiring.selectors, "NetworkPolicy/jaeger", "spec.podSelector", {"matchLabels": {"app": "x"}}, "nothing"
    ),
    Fault(
        wiring.references,
        PROMETHEUS,
        f"{TEMPLATE}.volumes.rules.configMap.name",
        "rules",
        "no ConfigMap rules",
    ),
    Fault(
        *(wiring.references, "Deployment/grafana", f"{CONTAINER}.volumeMounts.config.subPath"),
        *("custom.ini", "has no ['custom.ini']"),
    ),
    # Of a volume that is mounted once more
    Fault(
        *(wiring.references, "Deployment/grafana", f"{CONTAINER}.volumeMounts.config"),
        *({"name": "datasources", "mountPath": "/a", "subPath": "a.yaml"}, "has no ['a.yaml']"),
    ),
    Fault(wiring.references, PROMETHEUS, f"{CONTAINER}.volumeMounts.0.name", "conf", "volume conf"),
    Fault(
        *(wiring.references, "StatefulSet/alertmanager", f"{TEMPLATE}.volumes.receivers.secret.optional"),
        *(False, "alertmanager-receivers is not there"),
    ),
    Fault(
        *(wiring.references, "Deployment/grafana", f"{CONTAINER}.envFrom.0.secretRef.optional"),
        *(False, "grafana-admin is not there"),
    ),
    Fault(wiring.references, VITRINE, f"{TEMPLATE}.serviceAccountName", "v", "no ServiceAccount v"),
    Fault(
        *(wiring.targets, "HTTPRoute/vitrine", "spec.rules.0.backendRefs.0.port", 8000, "is no Service"),
        of="components/gateway-route",
    ),
    Fault(
        wiring.targets,
        "HorizontalPodAutoscaler/vitrine",
        "spec.scaleTargetRef.name",
        "server",
        "is not there",
    ),
    Fault(
        wiring.targets, "APIService/v1beta1.custom.metrics.k8s.io", "spec.service.port", 6443, "is no Service"
    ),
    Fault(
        wiring.targets,
        "ScaledObject/vitrine",
        "spec.scaleTargetRef.name",
        "v",
        "v, which",
        of="components/autoscaling-keda",
    ),
    Fault(rights.restricted, "Namespace/vitrine", "metadata.labels", {}, "does not enforce"),
    Fault(rights.restricted, VITRINE, "metadata.namespace", "default", "is not ours"),
    Fault(rights.restricted, VITRINE, f"{TEMPLATE}.hostNetwork", True, "hostNetwork"),
    Fault(rights.restricted, VITRINE, f"{TEMPLATE}.volumes.tmp.hostPath", {"path": "/"}, "hostPath"),
    Fault(rights.restricted, VITRINE, f"{TEMPLATE}.securityContext.runAsNonRoot", ABSENT, "runAsNonRoot"),
    Fault(rights.restricted, VITRINE, f"{TEMPLATE}.securityContext.runAsUser", 0, "runs as root"),
    Fault(rights.restricted, VITRINE, f"{TEMPLATE}.securityContext.runAsUser", ABSENT, "runAsUser"),
    Fault(rights.restricted, VITRINE, f"{TEMPLATE}.securityContext.seccompProfile", ABSENT, "seccompProfile"),
    Fault(
        rights.restricted,
        VITRINE,
        f"{CONTAINER}.securityContext.allowPrivilegeEscalation",
        ABSENT,
        "Escalation",
    ),
    Fault(rights.restricted, VITRINE, f"{CONTAINER}.securityContext.privileged", True, "privileged"),
    Fault(rights.restricted, VITRINE, f"{CONTAINER}.securityContext.capabilities", {}, "capabilities"),
    Fault(
        rights.restricted,
        VITRINE,
        f"{CONTAINER}.securityContext.capabilities.add",
        ["SYS_ADMIN"],
        "capabilities",
    ),
    Fault(
        rights.restricted,
        VITRINE,
        f"{CONTAINER}.securityContext.readOnlyRootFilesystem",
        False,
        "readOnlyRoot",
    ),
    Fault(rights.restricted, VITRINE, f"{CONTAINER}.ports.0.hostPort", 8000, "hostPort"),
    Fault(rights.restricted, VITRINE, f"{CONTAINER}.livenessProbe.httpGet.host", "10.0.0.1", "names a host"),
    Fault(rights.least, ROLE, "rules.0.verbs", ["*"], "a wildcard"),
    Fault(rights.least, ROLE, "rules.0.verbs", ["list", "delete"], "may ['delete']"),
    Fault(rights.least, ROLE, "rules.0.resources", ["secrets"], "may read ['secrets']"),
    Fault(
        rights.least, "ClusterRole/vitrine-prometheus", "rules.1.resources", ["nodes/proxy"], "nodes/proxy"
    ),
    Fault(
        rights.least, "ClusterRoleBinding/vitrine-prometheus", "subjects.0.name", "grafana", "is for grafana"
    ),
    Fault(
        rights.least, "ClusterRoleBinding/vitrine-prometheus", "roleRef.name", "view", "is bound to nobody"
    ),
    Fault(network.closed, "NetworkPolicy/vitrine/default-deny", "spec.policyTypes", ["Ingress"], "is open"),
    Fault(network.closed, "NetworkPolicy/monitoring/default-deny", "spec.egress", [{}], "monitoring is open"),
    Fault(network.sent, POLICY, "spec.ingress.1.ports.0.port", 8000, "which may not receive it"),
    Fault(network.sent, POLICY, "spec.egress.0.ports.0.port", 4317, "has no port 4317"),
    Fault(network.sent, POLICY, "spec.egress.0.to", [], "may speak to anything at 4318"),
    Fault(network.sent, POLICY, "spec.egress.0.ports.0.protocol", "UDP", "has no port 4318/UDP"),
    Fault(
        *(network.sent, "NetworkPolicy/grafana", "spec.egress.0.ports.0.protocol", "UDP"),
        "9090/UDP, which may not receive it",
    ),
    Fault(
        *(network.sent, "NetworkPolicy/kube-state-metrics", "spec.egress.0.ports.0.protocol", "UDP"),
        "may speak to anything at 443/UDP",
    ),
    Fault(
        network.sent, "NetworkPolicy/grafana", "spec.egress.2.ports.0.port", 8888, "which may not receive it"
    ),
    Fault(
        network.received, "NetworkPolicy/prometheus", "spec.egress.0.ports.0.port", 8000, "may not send it"
    ),
    Fault(network.received, POLICY, "spec.ingress.1.from", [], "anything may speak to vitrine/vitrine:9000"),
    Fault(network.received, POLICY, "spec.ingress.0.ports.0.protocol", "UDP", "vitrine/vitrine:8000/UDP"),
    Fault(network.received, POLICY, "spec.ingress.1.ports.0.protocol", "UDP", "which may not send it"),
    Fault(
        network.received, "NetworkPolicy/kube-state-metrics", "spec.ingress.0.ports.0.port", 80, "no port 80"
    ),
    Fault(network.tokens, "NetworkPolicy/kube-state-metrics", "spec.egress", [], "no way to the API server"),
    Fault(
        network.tokens, VITRINE, f"{TEMPLATE}.automountServiceAccountToken", True, "a token without rights"
    ),
    Fault(
        network.tokens,
        PROMETHEUS,
        f"{TEMPLATE}.automountServiceAccountToken",
        False,
        "rights without a token",
    ),
    Fault(network.addresses, "Service/jaeger", "spec.ports.0.port", 4317, "where no Service is"),
    Fault(network.addresses, "Service/alertmanager", "metadata.name", "alerts", "where no Service is"),
    Fault(network.addresses, "NetworkPolicy/dns", "spec.egress", [], "may not look"),
    Fault(network.addresses, "NetworkPolicy/dns", "spec.egress.0.ports.0.protocol", "TCP", "may not look"),
    Fault(network.addresses, POLICY, "spec.egress.0.ports.0.protocol", "UDP", "may not go to"),
    Fault(network.addresses, "NetworkPolicy/grafana", "spec.egress.0.ports.0.port", 80, "may not go to"),
    Fault(
        network.addresses,
        VITRINE,
        f"{ENV}.OTEL_EXPORTER_OTLP_ENDPOINT.value",
        "http://jaeger.m.svc:4318",
        "no Service",
    ),
    Fault(
        network.addresses, "NetworkPolicy/prometheus-adapter", "spec.egress.0.ports.0.port", 80, "may not go"
    ),
    Fault(
        network.received,
        "NetworkPolicy/prometheus-adapter",
        "spec.egress.0",
        {"ports": []},
        "may not send it",
    ),
    Fault(images.pinned, VITRINE, f"{CONTAINER}.image", "vitrine:latest", "vitrine:latest"),
    Fault(images.pinned, "Deployment/jaeger", f"{CONTAINER}.image", "quay.io/jaegertracing/jaeger", "jaeger"),
    Fault(images.pinned, VITRINE, f"{CONTAINER}.image", "vitrine:0.1.0", "0.1.0", of="overlays/gpu"),
    Fault(
        images.bounded, "Deployment/jaeger", f"{CONTAINER}.resources.limits", {"cpu": 1}, "memory of jaeger"
    ),
    Fault(images.bounded, VITRINE, f"{CONTAINER}.resources.requests.memory", "1Gi", "memory of vitrine"),
    Fault(
        service.environment, VITRINE, f"{ENV}.APP_DRAIN_DELAY.name", "APP_DRAINING", "no setting APP_DRAINING"
    ),
    Fault(service.environment, VITRINE, f"{ENV}.APP_DRAIN_DELAY.value", "5s", "APP_DRAIN_DELAY='5s'"),
    Fault(
        service.environment, VITRINE, f"{ENV}.APP_TRACE_UI_URL.value", "jaeger", "APP_TRACE_UI_URL='jaeger'"
    ),
    Fault(
        service.environment, VITRINE, f"{ENV}.OTEL_EXPORTER_OTLP_ENDPOINT.name", "OTEL_ENDPOINT", "no setting"
    ),
    Fault(service.environment, VITRINE, f"{ENV}.OTEL_EXPORTER_OTLP_ENDPOINT.value", "", "no traces are sent"),
    Fault(service.environment, VITRINE, f"{ENV}.POD_UID.name", "UID", "does not stand before it"),
    Fault(
        service.environment,
        VITRINE,
        f"{ENV}.OTEL_RESOURCE_ATTRIBUTES.value",
        "a=b",
        "do not say k8s.pod.name",
    ),
    Fault(
        service.ports, VITRINE, f"{ENV}.APP_DRAIN_DELAY", {"name": "APP_PORT", "value": "80"}, "listens at 80"
    ),
    Fault(
        service.ports, VITRINE, f"{CONTAINER}.ports.ops.containerPort", 9001, "it listens at 8000 and 9000"
    ),
    Fault(
        service.ports, VITRINE, f"{ENV}.APP_DRAIN_DELAY", {"name": "APP_HOST", "value": "127.0.0.1"}, "nobody"
    ),
    Fault(
        service.probes,
        VITRINE,
        f"{CONTAINER}.readinessProbe.httpGet.path",
        "/ready",
        "nothing answers /ready",
    ),
    Fault(
        service.probes, VITRINE, f"{CONTAINER}.livenessProbe.httpGet.path", "/readyz", "livenessProbe asks"
    ),
    Fault(service.probes, VITRINE, f"{CONTAINER}.startupProbe.httpGet.port", "metrics", "nothing answers"),
    Fault(service.probes, VITRINE, f"{CONTAINER}.startupProbe", ABSENT, "no startupProbe"),
    Fault(service.drain, VITRINE, f"{TEMPLATE}.terminationGracePeriodSeconds", 30, "is over before"),
    Fault(service.drain, VITRINE, f"{TEMPLATE}.terminationGracePeriodSeconds", ABSENT, "is over before"),
    Fault(service.drain, VITRINE, f"{CONTAINER}.lifecycle.preStop.sleep.seconds", 15, "is over before"),
    Fault(
        service.capacity, VITRINE, f"{CONTAINER}.resources.limits.cpu", "1500m", "1500m is no whole number"
    ),
    Fault(
        service.capacity, VITRINE, f"{CONTAINER}.resources.requests.cpu", "1", "requests are not the limits"
    ),
    Fault(
        service.capacity, VITRINE, "spec.strategy.rollingUpdate.maxUnavailable", "25%", "takes capacity away"
    ),
    Fault(service.capacity, VITRINE, "spec.replicas", 2, "undoes the autoscaler"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_planted_fault_is_found(fault: Fault) -> None:
    objects = build(fault.of)
    fault.plant(objects)
    assert any(fault.found in said for said in fault.policy(objects)), [*fault.policy(objects)]


def test_each_policy_has_been_seen_to_fail() -> None:
    assert {fault.policy for fault in FAULTS} == {*POLICIES}
