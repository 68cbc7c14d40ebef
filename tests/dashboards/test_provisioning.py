"""The files that Grafana reads at its start."""

import json
from typing import Any

import yaml

from monitoring.generate import PROMETHEUS
from monitoring.grafana.board import JAEGER_UID, PROMETHEUS_UID
from monitoring.grafana.generate import DASHBOARDS

GRAFANA = DASHBOARDS.parent
SOURCES: dict[str, dict[str, Any]] = {
    source["uid"]: source
    for source in yaml.safe_load((GRAFANA / "provisioning/datasources/vitrine.yaml").read_text())[
        "datasources"
    ]
}
CLIENT_SIDE_APPLY = 262_144
"""Bytes that an object's annotations may have; `kubectl apply` keeps the whole object in one."""


def test_the_datasources_are_those_that_dashboards_and_links_name() -> None:
    assert SOURCES.keys() == {PROMETHEUS_UID, JAEGER_UID, "alertmanager"}
    assert [source["type"] for source in SOURCES.values()] == ["prometheus", "jaeger", "alertmanager"]
    assert [uid for uid, source in SOURCES.items() if source.get("isDefault")] == [PROMETHEUS_UID]
    assert all(source["editable"] is False for source in SOURCES.values())


def test_metrics_lead_to_traces_and_traces_to_metrics() -> None:
    (exemplars,) = SOURCES[PROMETHEUS_UID]["jsonData"]["exemplarTraceIdDestinations"]
    assert exemplars == {"name": "trace_id", "datasourceUid": JAEGER_UID}
    jaeger = SOURCES[JAEGER_UID]["jsonData"]
    assert jaeger["nodeGraph"]["enabled"]
    assert jaeger["tracesToMetrics"]["datasourceUid"] == PROMETHEUS_UID


def test_the_rate_interval_follows_from_the_real_scrape_interval() -> None:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    assert SOURCES[PROMETHEUS_UID]["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]


def test_prometheus_notifies_the_same_alertmanager() -> None:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    (target,) = config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert SOURCES["alertmanager"]["url"] == f"http://{target}"


def test_the_config_maps_hold_every_file() -> None:
    kustomization = yaml.safe_load((GRAFANA / "kustomization.yaml").read_text())
    files = [name for generated in kustomization["configMapGenerator"] for name in generated["files"]]

    assert kustomization["namespace"] == "monitoring"
    assert "generatorOptions" not in kustomization  # the hashes stay on
    for folder in ("dashboards", "provisioning"):
        there = {str(path.relative_to(GRAFANA)) for path in (GRAFANA / folder).rglob("*.*")}
        assert {name for name in files if name.startswith(folder)} == there
    provider = yaml.safe_load((GRAFANA / "provisioning/dashboards/vitrine.yaml").read_text())
    mounted = (GRAFANA / "kustomization.yaml").read_text()
    assert f"mounted at {provider['providers'][0]['options']['path']}\n" in mounted


def test_the_dashboards_can_be_applied_by_kubectl() -> None:
    data = {path.name: path.read_text() for path in DASHBOARDS.glob("*.json")}
    assert len(json.dumps(data)) < 0.9 * CLIENT_SIDE_APPLY
