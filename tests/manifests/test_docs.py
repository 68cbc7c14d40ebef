"""docs/deployment.md says what is so, and every page's kubectl names what is there."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.manifests.kustomize import COMPONENTS, ROOT, build, kustomize
from tests.manifests.objects import called, of_kind, pod, pods
from tests.manifests.policies.network import ANYWHERE, OTHERS, Flow, flows
from tests.manifests.policies.wiring import TO_BE_MADE

PAGE = (ROOT / "docs/deployment.md").read_text()
KINDS = {
    "deploy": "Deployment",
    "deployment": "Deployment",
    "hpa": "HorizontalPodAutoscaler",
    "service": "Service",
    "statefulset": "StatefulSet",
    "svc": "Service",
}


def _rows(heading: str) -> list[list[str]]:
    """The cells of the section's table, below its head."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\|(.*)\|$", section, re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in rows][2:]


def test_the_flows_are_those_of_the_policies() -> None:
    names = {name.partition("/")[2]: name for name in OTHERS} | {"anything": ANYWHERE}
    names |= {pod.name: str(pod) for pod in pods(build("."))}
    documented = []
    for source, destination, ports, _ in _rows("Who may speak to whom"):
        for port in ports.split(", "):
            number, _, protocol = port.partition(" ")
            documented.append(Flow(names[source], names[destination], int(number), protocol or "TCP"))
    assert sorted(documented) == sorted(flows(build(".")))


def test_the_ports_are_those_of_the_pods() -> None:
    documented = {re.findall(r"`([a-z-]+)`", what)[0]: ports for _, what, ports in _rows("What comes of it")}
    assert documented == {
        found.name: ", ".join(f"{number} {name}" for name, number in found.ports.items())
        for found in pods(build("."))
    }


def test_what_it_asks_for_is_told() -> None:
    objects = build(".")
    (scaler,) = of_kind(objects, "HorizontalPodAutoscaler")
    instances = scaler["spec"]["minReplicas"]
    cpus = gibibytes = 0.0
    for found in pods(objects):
        count = instances if found.name == "vitrine" else found.owner["spec"]["replicas"]
        for container in found.containers:
            cpu, memory = (str(container["resources"]["requests"][kind]) for kind in ("cpu", "memory"))
            cpus += count * (float(cpu[:-1]) / 1000 if cpu.endswith("m") else float(cpu))
            gibibytes += count * float(memory[:-2]) / {"Gi": 1, "Mi": 1024}[memory[-2:]]
    assert f"{instances} instances" in PAGE
    assert f"{cpus:.1f} CPUs and {gibibytes:.1f} GiB of memory" in PAGE


def test_every_component_is_told() -> None:
    paths = {path.strip("`") for path, _ in _rows("Overlays and components")}
    assert paths == {
        *(".", "k8s/overlays/cpu", "k8s/overlays/gpu"),
        *(f"k8s/components/{name}" for name in COMPONENTS),
    }


def test_each_secret_that_a_pod_takes_is_told() -> None:
    text = yaml.safe_dump_all([found.owner for found in pods(build("."))])
    taken = set(re.findall(r"secretName: (\S+)|secretRef:\n +name: (\S+)", text))
    names = {name for pair in taken for name in pair if name} | TO_BE_MADE
    assert names == set(re.findall(r"create secret generic (\S+)", PAGE))


def test_the_receivers_are_those_of_alertmanager() -> None:
    config = yaml.safe_load((ROOT / "monitoring/prometheus/alertmanager/alertmanager.yml").read_text())
    assert {receiver["name"] for receiver in config["receivers"]} == {*re.findall(r"--from-file=(\S+)", PAGE)}


def test_the_example_of_an_overlay_builds(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    path = os.path.relpath(ROOT, tmp_path)
    (tmp_path / "kustomization.yaml").write_text(example.replace("../vitrine", path))
    objects = [*yaml.safe_load_all(kustomize(tmp_path))]

    (container,) = pod(objects, "vitrine").containers
    assert container["image"].startswith("registry.example.com/vitrine@sha256:")
    environment = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert environment["APP_REQUEST_TIMEOUT"] == "5"
    assert "APP_API_KEYS" in environment
    (route,) = (found for found in objects if called(found) == "HTTPRoute vitrine/vitrine")
    assert route["spec"]["parentRefs"] == [{"name": "public", "namespace": "gateways"}]


def _commands() -> Iterator[tuple[str, str]]:
    """Each page's commands of kubectl, in its blocks and its sentences."""
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for command in re.findall(r"\bkubectl((?:\\\n|[^\n`|])*)", page.read_text()):
            yield str(page.relative_to(ROOT)), command


def _namespace(command: str) -> str | None:
    found = re.search(r"(?:-n|--namespace) (\S+)", command)
    return found[1] if found else None


def test_every_page_names_what_is_there() -> None:
    """In kubectl's commands, and in the namespace where it is: `deploy/vitrine`, `get hpa vitrine`."""
    there = {
        (found["kind"], found["metadata"].get("namespace"), found["metadata"]["name"]) for found in build(".")
    }
    seen = 0
    for page, command in _commands():
        for kind, name in re.findall(rf"\b({'|'.join(KINDS)})[/ ]([a-z][a-z-]*)\b", command):
            assert (KINDS[kind], _namespace(command), name) in there, (page, command)
            seen += 1
    assert seen > 20


def test_every_forward_leads_to_a_port() -> None:
    objects = build(".")
    open_ports: dict[tuple[str, str, str], set[int]] = {
        ("POD", found.namespace, ""): set(found.ports.values())
        for found in pods(objects)
        if found.name == "vitrine"
    }
    open_ports |= {
        (found.owner["kind"], found.namespace, found.name): set(found.ports.values())
        for found in pods(objects)
    }
    open_ports |= {
        ("Service", found["metadata"]["namespace"], found["metadata"]["name"]): {
            port["port"] for port in found["spec"]["ports"]
        }
        for found in of_kind(objects, "Service")
    }
    seen = 0
    for page, command in _commands():
        for target, ports in re.findall(r"port-forward (\S+)((?: [\d:]+)+)", command):
            kind, _, name = target.partition("/")
            there = open_ports[KINDS.get(kind, kind), _namespace(command) or "", name]
            assert {int(port.rpartition(":")[2]) for port in ports.split()} <= there, (page, command)
            seen += 1
    assert seen > 20


def test_the_versions_to_install_are_those_of_the_cluster() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    (nodes,) = set(re.findall(r"kindest/node:(v[\d.]+)", (ROOT / "k8s/kind/cluster.yaml").read_text()))
    (kind,) = re.findall(r"check kind ([\d.]+)", (ROOT / "scripts/kind-programs.sh").read_text())
    assert f"/release/{nodes}/bin/" in page
    assert f"/dl/v{kind}/" in page
