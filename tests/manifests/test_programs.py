"""The real Prometheus and Alertmanager, with the files and the command lines that their pods would have.

Debian's are older than those in the manifests, and are not built with all of their parts:
Prometheus has no Kubernetes discovery, in whose place stand the targets that it would have found; and
Alertmanager 0.25 takes a receiver's address from no file, so that it stands in the configuration.
"""

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
import yaml

from monitoring.stack.child import Child, program
from monitoring.stack.ports import Ports
from monitoring.stack.receiver import Notification, Receiver
from tests.manifests.kustomize import Objects, build
from tests.manifests.mounted import mount
from tests.manifests.objects import pod
from tests.monitoring.rules import RULES, run

pytestmark = pytest.mark.live

META = "__meta_kubernetes_"


@pytest.fixture(scope="module")
def objects() -> Objects:
    return build(".")


def _prometheus(objects: Objects, root: Path, ports: Ports) -> list[str]:
    """Its arguments, once its configuration looks at `ports`."""
    arguments = mount(pod(objects, "prometheus"), objects, root)
    path = root / "etc/prometheus/prometheus.yml"
    config = yaml.safe_load(path.read_text())
    token = root / "token"
    token.write_text("none")
    for scrape in config["scrape_configs"]:
        del scrape["kubernetes_sd_configs"]
        if "authorization" in scrape:
            scrape["authorization"]["credentials_file"] = str(token)
    monitoring = next(scrape for scrape in config["scrape_configs"] if scrape["job_name"] == "monitoring")
    monitoring["static_configs"] = [
        {
            "targets": [f"127.0.0.1:{port}"],
            "labels": {
                f"{META}pod_label_app_kubernetes_io_name": name,
                f"{META}pod_container_port_name": "http",
                f"{META}namespace": "monitoring",
                f"{META}pod_name": f"{name}-0",
            },
        }
        for name, port in (("prometheus", ports.prometheus), ("alertmanager", ports.alertmanager))
    ]
    (alertmanagers,) = config["alerting"]["alertmanagers"]
    alertmanagers["static_configs"] = [{"targets": [f"127.0.0.1:{ports.alertmanager}"]}]
    config["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    path.write_text(yaml.safe_dump(config))
    return [
        *arguments,
        f"--web.listen-address=127.0.0.1:{ports.prometheus}",
        # Alertmanager is found some seconds after the first alert fires, which is sent again only then
        "--rules.alert.resend-delay=1s",
    ]


def _alertmanager(objects: Objects, root: Path, ports: Ports) -> list[str]:
    """Its arguments, once its receivers are at `ports`."""
    arguments = mount(pod(objects, "alertmanager"), objects, root)
    path = root / "etc/alertmanager/alertmanager.yml"
    address = rf"url: http://127.0.0.1:{ports.receiver}/\1"
    text, receivers = re.subn(r"url_file: /etc/alertmanager/secrets/(\S+)", address, path.read_text())
    assert receivers == 6
    path.write_text(text)
    return [*arguments, f"--web.listen-address=127.0.0.1:{ports.alertmanager}"]


def test_promtool_and_amtool_accept_what_the_pods_mount(objects: Objects, tmp_path: Path) -> None:
    _prometheus(objects, tmp_path, Ports())
    _alertmanager(objects, tmp_path, Ports())
    told = run("promtool", "check", "config", tmp_path / "etc/prometheus/prometheus.yml")
    assert sum(map(int, re.findall(r"(\d+) rules found", told))) == len(RULES)
    told = run("amtool", "check-config", tmp_path / "etc/alertmanager/alertmanager.yml")
    assert "6 receivers" in told


@dataclass(frozen=True)
class Running:
    """Both programs, and what their receivers are told."""

    ports: Ports
    told: Queue[Notification]


@pytest.fixture(scope="module")
def running(objects: Objects, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    ports = Ports.free()
    folder = tmp_path_factory.mktemp("programs")
    told: Queue[Notification] = Queue()
    prometheus = [program("prometheus"), *_prometheus(objects, folder, ports)]
    alertmanager = [
        program("prometheus-alertmanager", "alertmanager"),
        *_alertmanager(objects, folder, ports),
    ]
    with (
        Receiver(ports.receiver, told.put),
        Child(alertmanager, folder / "alertmanager.log"),
        Child(prometheus, folder / "prometheus.log"),
    ):
        yield Running(ports, told)


def test_they_start_and_the_heartbeat_reaches_its_receiver(running: Running) -> None:
    notification = running.told.get(timeout=60)
    rules = _get(running.ports.prometheus, "rules")["groups"]
    targets = _get(running.ports.prometheus, "targets")["activeTargets"]
    flags = _get(running.ports.prometheus, "status/flags")

    assert (notification.receiver, notification.labels["alertname"]) == ("heartbeat", "Watchdog")
    loaded = [rule for group in rules for rule in group["rules"]]
    assert len(loaded) == len(RULES)
    assert {rule["health"] for rule in loaded} <= {"ok", "unknown"}  # unknown: not evaluated yet
    assert {(target["labels"]["job"], target["labels"]["pod"]) for target in targets} == {
        ("prometheus", "prometheus-0"),
        ("alertmanager", "alertmanager-0"),
    }
    assert flags["enable-feature"] == "exemplar-storage"


@pytest.mark.parametrize("name", ["prometheus", "alertmanager"])
def test_their_probes_are_answered(name: str, running: Running) -> None:
    objects = build(".")
    assert _unanswered(objects, name, running) == []
    (container,) = pod(objects, name).containers
    container["livenessProbe"]["httpGet"]["path"] = "/nope"
    assert _unanswered(objects, name, running) == ["livenessProbe: /nope gives 404"]


def _unanswered(objects: Objects, name: str, running: Running) -> list[str]:
    """What is wrong with the pod's probes, each given 30 s for the program to start."""
    (container,) = pod(objects, name).containers
    probes = {kind: container[kind]["httpGet"] for kind in container if kind.endswith("Probe")}
    assert probes.keys() >= {"readinessProbe", "livenessProbe"}
    wrong = []
    for kind, asked in probes.items():
        assert asked["port"] == "http"
        status = _status(getattr(running.ports, name), asked["path"])
        if status != 200:
            wrong.append(f"{kind}: {asked['path']} gives {status}")
    return wrong


def _status(port: int, path: str) -> int:
    """The answer's, once the program is past its start."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            if error.code != 503 or time.monotonic() > deadline:
                return error.code
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def _get(port: int, what: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{what}", timeout=10) as reply:
        return json.load(reply)["data"]
