"""docs/deployment.md says what is so."""

import os
import re
import subprocess
from pathlib import Path

import yaml

from tests.manifests.kustomize import COMPONENTS, ROOT, build, kustomize
from tests.manifests.objects import called, of_kind, pod, pods
from tests.manifests.policies.network import ANYWHERE, OTHERS, flows
from tests.manifests.policies.wiring import TO_BE_MADE

PAGE = (ROOT / "docs/deployment.md").read_text()


def _rows(heading: str) -> list[list[str]]:
    """The cells of the section's table, below its head."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\|(.*)\|$", section, re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in rows][2:]


def test_the_flows_are_those_of_the_policies() -> None:
    names = {name.partition("/")[2]: name for name in OTHERS} | {"anything": ANYWHERE}
    names |= {pod.name: str(pod) for pod in pods(build("."))}
    documented = [
        (names[source], names[destination], int(port))
        for source, destination, ports, _ in _rows("Who may speak to whom")
        for port in ports.split(", ")
    ]
    allowed = [(flow.source, flow.destination, flow.port) for flow in flows(build("."))]
    assert sorted(documented) == sorted(allowed)


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


def test_every_page_names_what_is_there() -> None:
    """In kubectl's commands: `deploy/vitrine`, `service/grafana`."""
    kinds = {"deploy": "Deployment", "deployment": "Deployment", "statefulset": "StatefulSet"}
    kinds |= {"svc": "Service", "service": "Service"}
    there = {(found["kind"], found["metadata"]["name"]) for found in build(".")}
    for page in (ROOT / "docs").rglob("*.md"):
        for kind, name in re.findall(rf"\b({'|'.join(kinds)})/([a-z-]+)\b", page.read_text()):
            assert (kinds[kind], name) in there, page


def test_its_links_lead_somewhere() -> None:
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.*)$", PAGE, re.MULTILINE)}
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", PAGE):
        path, _, anchor = link.partition("#")
        assert not path or (ROOT / "docs" / path).exists()
        assert not anchor or anchor in headings


def test_its_shell_is_shell() -> None:
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL):
        commands = re.sub(r"^\$ ", "", block, flags=re.MULTILINE)
        subprocess.run(["bash", "-n"], input=commands, text=True, check=True)
