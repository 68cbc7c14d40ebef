"""Prometheus' own configuration, by the real promtool.

Debian's promtool is built without Kubernetes discovery. In its place stand static targets with the labels
that Kubernetes discovery would have found, so that the relabelling is the real one.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.generate import PROMETHEUS
from tests.monitoring.rules import RULE_FILES, run

CLUSTER = PROMETHEUS / "prometheus.yml"
LOCAL = PROMETHEUS / "prometheus.local.yml"
META = "__meta_kubernetes_"


def _pod(
    namespace: str, name: str, port: str, phase: str = "Running", app: str = "vitrine"
) -> dict[str, str]:
    return {
        f"{META}namespace": namespace,
        f"{META}pod_name": name,
        f"{META}pod_phase": phase,
        f"{META}pod_container_name": "server",
        f"{META}pod_container_port_name": port,
        f"{META}pod_node_name": "node-1",
        f"{META}pod_label_app_kubernetes_io_name": app,
    }


def _discovered(folder: Path, job: str, found: list[dict[str, str]]) -> list[dict[str, str]]:
    """The labels of the job's targets, if Kubernetes had found these."""
    config = yaml.safe_load(CLUSTER.read_text())
    for scrape in config["scrape_configs"]:
        del scrape["kubernetes_sd_configs"]
        scrape["static_configs"] = [
            {"targets": [f"10.0.0.{place}:9000"], "labels": labels} for place, labels in enumerate(found, 1)
        ]
    shutil.copytree(PROMETHEUS / "rules", folder / "rules", dirs_exist_ok=True)
    path = folder / "prometheus.yml"
    # The token is there in the cluster only
    path.write_text(re.sub(r"credentials_file: \S+", f"credentials_file: {CLUSTER}", yaml.safe_dump(config)))
    run("promtool", "check", "config", path)
    targets: list[dict[str, Any]] = json.loads(
        run("promtool", "check", "service-discovery", "--timeout=1s", path, job)
    )
    return [target["labels"] for target in targets if target.get("labels")]


def test_promtool_accepts_the_local_configuration() -> None:
    run("promtool", "check", "config", LOCAL)


def test_both_have_the_same_rules() -> None:
    cluster, local = yaml.safe_load(CLUSTER.read_text()), yaml.safe_load(LOCAL.read_text())
    assert cluster["rule_files"] == local["rule_files"] == ["rules/*.yaml"]
    assert cluster["global"]["scrape_interval"] == local["global"]["scrape_interval"]


def test_the_services_pods_are_scraped_at_their_ops_port(tmp_path: Path) -> None:
    targets = _discovered(
        tmp_path,
        "vitrine",
        [
            _pod("vitrine", "web-1", "ops"),
            _pod("vitrine", "web-1", "api"),
            _pod("vitrine", "web-0", "ops", phase="Succeeded"),
            _pod("vitrine", "web-2", "ops", phase="Failed"),
        ],
    )

    (target,) = targets
    assert {name: value for name, value in target.items() if not name.startswith("__")} == {
        "job": "vitrine",
        "instance": "web-1",
        "namespace": "vitrine",
        "pod": "web-1",
        "container": "server",
        "node": "node-1",
    }
    assert target["__metrics_path__"] == "/metrics"


@pytest.mark.parametrize(
    ("app", "port"),
    [("prometheus", "http"), ("alertmanager", "http"), ("grafana", "http"), ("jaeger", "metrics")],
)
def test_the_monitoring_is_scraped_under_its_own_names(tmp_path: Path, app: str, port: str) -> None:
    targets = _discovered(
        tmp_path,
        "monitoring",
        [
            _pod("monitoring", f"{app}-0", port, app=app),
            _pod("monitoring", f"{app}-0", "other", app=app),
            _pod("monitoring", "stranger-0", "http", app="stranger"),
        ],
    )

    (target,) = targets
    assert (target["job"], target["instance"]) == (app, f"{app}-0")


def test_the_state_exporter_keeps_its_name_over_restarts(tmp_path: Path) -> None:
    targets = _discovered(
        tmp_path,
        "kube-state-metrics",
        [
            _pod("monitoring", "ksm-0", "http-metrics", app="kube-state-metrics"),
            _pod("monitoring", "ksm-0", "telemetry", app="kube-state-metrics"),
        ],
    )

    (target,) = targets
    assert (target["job"], target["instance"]) == ("kube-state-metrics", "kube-state-metrics")
    assert "pod" not in target  # the exporter's own series say which pod they are about


def test_discovery_looks_nowhere_else() -> None:
    namespaces = {}
    for scrape in yaml.safe_load(CLUSTER.read_text())["scrape_configs"]:
        (discovery,) = scrape["kubernetes_sd_configs"]
        namespaces[scrape["job_name"]] = (discovery["role"], discovery.get("namespaces", {}).get("names"))
    assert namespaces == {
        "vitrine": ("pod", ["vitrine"]),
        "kube-state-metrics": ("pod", ["monitoring"]),
        "cadvisor": ("node", None),
        "monitoring": ("pod", ["monitoring"]),
    }


def test_the_config_maps_hold_every_file() -> None:
    kustomization = yaml.safe_load((PROMETHEUS / "kustomization.yaml").read_text())
    files = {generated["name"]: generated["files"] for generated in kustomization["configMapGenerator"]}

    assert files == {
        "prometheus-config": ["prometheus.yml"],
        "prometheus-rules": [f"rules/{path.name}" for path in RULE_FILES],
        "alertmanager-config": ["alertmanager/alertmanager.yml"],
    }
    assert "generatorOptions" not in kustomization  # the hashes stay on
