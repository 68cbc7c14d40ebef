"""Broken links of the manifests: each is named, with the place where it is, and no other layer is blamed."""

from pathlib import Path

import pytest

from app.doctor.manifests import Objects
from app.doctor.port_chain import judge
from app.doctor.walk import Ok
from tests.doctor.conftest import MANIFESTS, World, broken
from tests.doctor.servers import PAGE
from tests.manifests.kustomize import APPLIED, rendered

VITRINE = "Deployment vitrine, container server"


@pytest.mark.parametrize("name", APPLIED)
def test_what_people_apply_holds(name: str) -> None:
    result = judge(Objects(rendered(name)))
    assert isinstance(result, Ok), result


LINKS = """
targetPort: api | targetPort: http
Service vitrine: targetPort http, but Deployment vitrine has api 8000, ops 9000

port: 80, targetPort: api | port: 80
Service vitrine: targetPort 80, but

selector: {app.kubernetes.io/name: vitrine} | selector: {app: vitrine}
Service vitrine selects app=vitrine; Deployment vitrine has app.kubernetes.io/name=vitrine

{namespace: monitoring, name: prometheus} | {name: prometheus}
Service prometheus selects app.kubernetes.io/name=prometheus; there is no workload in namespace monitoring

{name: api, containerPort: 8000} | {name: api, containerPort: 8080}
Deployment vitrine, container server: containerPort 8080, but APP_PORT=8000, APP_OPS_PORT=9000

APP_PORT: "8000" | APP_PORT: "8001"
Deployment vitrine, container server: containerPort 8000, but APP_PORT=8001

APP_HOST: 0.0.0.0 | APP_HOST: 127.0.0.1
Deployment vitrine, container server: APP_HOST=127.0.0.1

APP_OPS_HOST: 0.0.0.0 | APP_OPS_HOST: localhost
Deployment vitrine, container server: APP_OPS_HOST=localhost

path: /startupz, port: ops | path: /startupz, port: metrics
Deployment vitrine, container server: startupProbe asks port metrics, it has api 8000, ops 9000

path: /livez, port: 9000 | path: /livez, port: 9001
Deployment vitrine, container server: livenessProbe asks port 9001

{name: vitrine, port: 80} | {name: vitrine, port: 8000}
HTTPRoute vitrine: Service vitrine has no port 8000

{name: vitrine, port: 80} | {name: inference, port: 80}
HTTPRoute vitrine: there is no Service inference

containerPort: 9090 | containerPort: http
StatefulSet prometheus: spec.template.spec.containers.0.ports.0.containerPort:
"""
"""What is changed, to what, and what is said of it."""


@pytest.mark.parametrize("link", LINKS.strip().split("\n\n"))
def test_a_broken_link(world: World, tmp_path: Path, link: str) -> None:
    edit, said = link.rsplit("\n", 1)
    change, to = edit.split(" | ")
    text = MANIFESTS.read_text()
    assert change in text
    (tmp_path / "rendered.yaml").write_text(text.replace(change, to))
    walked = world.walk(manifests=str(tmp_path / "rendered.yaml"))
    assert walked.states == broken("manifests")
    assert said in walked.evidence
    assert walked.remedy


def test_a_service_whose_name_sets_a_variable(world: World, tmp_path: Path) -> None:
    text = MANIFESTS.read_text().replace("enableServiceLinks: false", "enableServiceLinks: true")
    text = text.replace('  APP_PORT: "8000"\n', "")
    (tmp_path / "rendered.yaml").write_text(text)
    assert world.walk(manifests=str(tmp_path / "rendered.yaml")).report.healthy

    service = "kind: Service\nmetadata: {name: vitrine, namespace: vitrine}"
    (tmp_path / "rendered.yaml").write_text(
        text.replace(service, service.replace("name: vitrine", "name: app"))
    )
    walked = world.walk(manifests=str(tmp_path / "rendered.yaml"))
    assert walked.states == broken("manifests")
    assert walked.evidence == f"{VITRINE}: the Service app sets its APP_PORT"
    assert "enableServiceLinks: false" in walked.remedy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "there is nothing in it"),
        (PAGE, "it holds what is no Kubernetes object"),
        (b"kind: [", "it is not YAML"),
        (b"\xff\xfe", "it holds what is no Kubernetes object"),
        (b"- kind: Service\n", "it holds what is no Kubernetes object"),
        (b"kind: List\nitems: [1]\n", "it holds what is no Kubernetes object"),
        (b"kind: Service\nmetadata: vitrine\n", "it holds what is no Kubernetes object"),
        (b"kind: Service\n", "Service : metadata: Field required"),
        (b"kind: ConfigMap\nmetadata: {name: a}\n", "there are 0 workloads and 0 Services"),
    ],
)
def test_what_is_no_rendering(world: World, tmp_path: Path, text: bytes, said: str) -> None:
    (tmp_path / "rendered.yaml").write_bytes(text)
    walked = world.walk(manifests=str(tmp_path / "rendered.yaml"))
    assert walked.states == broken("manifests")
    assert said in walked.evidence


def test_a_list_is_read_as_its_items(world: World, tmp_path: Path) -> None:
    items = "".join(
        "- " + document.strip().replace("\n", "\n  ") + "\n"
        for document in MANIFESTS.read_text().split("---\n")
    )
    (tmp_path / "rendered.yaml").write_text(f"kind: List\nitems:\n{items}")
    walked = world.walk(manifests=str(tmp_path / "rendered.yaml"))
    assert walked.report.healthy
    assert "2 ports of 2 Services" in walked.report.model_dump_json()
