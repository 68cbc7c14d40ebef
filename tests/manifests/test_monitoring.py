"""The monitoring's parts fit each other, the rules and the objectives."""

import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from promql_parser import parse_duration

from app.settings import Settings
from monitoring.generate import PROMETHEUS
from monitoring.grafana.generate import DASHBOARDS
from monitoring.slo import load_slo
from tests.manifests.kustomize import Objects, build
from tests.manifests.objects import Pod, of_kind, pod, pods
from tests.manifests.policies.network import Flow, flows

RUNBOOKS = Path(__file__).parents[2] / "docs/runbooks"
SPAN_DELAY = timedelta(seconds=5)
"""OpenTelemetry's OTEL_BSP_SCHEDULE_DELAY: how long a span may wait to be sent."""


@pytest.fixture(scope="module")
def objects() -> Objects:
    return build(".")


def _config(objects: Objects, name: str, key: str) -> Any:
    for found in of_kind(objects, "ConfigMap"):
        if found["metadata"]["name"].rpartition("-")[0] == name:
            return yaml.safe_load(found["data"][key])
    raise AssertionError(name)


def _option(objects: Objects, of: str, option: str) -> str:
    (container,) = pod(objects, of).containers
    (value,) = (
        argument.removeprefix(f"{option}=") for argument in container["args"] if argument.startswith(option)
    )
    return str(value)


def _discovered(scrape: dict[str, Any], objects: Objects) -> Iterator[tuple[Pod, str]]:
    """The ports that the job keeps of what Kubernetes discovery finds."""
    (discovery,) = scrape["kubernetes_sd_configs"]
    for found in pods(objects):
        for port in found.ports if found.namespace in discovery["namespaces"]["names"] else ():
            labels = {
                "__meta_kubernetes_namespace": found.namespace,
                "__meta_kubernetes_pod_phase": "Running",
                "__meta_kubernetes_pod_container_port_name": port,
                **{
                    f"__meta_kubernetes_pod_label_{re.sub(r'[^a-z0-9]', '_', label)}": value
                    for label, value in found.labels.items()
                },
            }
            if all(_keeps(rule, labels) for rule in scrape["relabel_configs"]):
                yield found, port


def _keeps(rule: dict[str, Any], labels: dict[str, str]) -> bool:
    value = ";".join(labels.get(name, "") for name in rule.get("source_labels", []))
    fits = re.fullmatch(str(rule.get("regex", ".*")), value) is not None
    return {"keep": fits, "drop": not fits}.get(rule.get("action", "replace"), True)


def test_every_pod_is_scraped_at_its_metrics(objects: Objects) -> None:
    scrapes = _config(objects, "prometheus-config", "prometheus.yml")["scrape_configs"]
    assert {
        (scrape["job_name"], str(found), found.ports[port])
        for scrape in scrapes
        if scrape["kubernetes_sd_configs"][0]["role"] == "pod"
        for found, port in _discovered(scrape, objects)
    } == {
        ("vitrine", "vitrine/vitrine", 9000),
        ("kube-state-metrics", "monitoring/kube-state-metrics", 8080),
        ("monitoring", "monitoring/prometheus", 9090),
        ("monitoring", "monitoring/alertmanager", 9093),
        ("monitoring", "monitoring/grafana", 3000),
        ("monitoring", "monitoring/jaeger", 8888),
    }


def test_the_autoscaler_finds_its_metric_by_the_labels_of_the_scrape(objects: Objects) -> None:
    scrapes = _config(objects, "prometheus-config", "prometheus.yml")["scrape_configs"]
    (scrape,) = (scrape for scrape in scrapes if scrape["job_name"] == "vitrine")
    given = {rule.get("target_label") for rule in scrape["relabel_configs"]}
    (scaler,) = of_kind(objects, "HorizontalPodAutoscaler")
    (metric,) = scaler["spec"]["metrics"]
    (rule,) = _config(objects, "prometheus-adapter-config", "config.yaml")["rules"]
    assert rule["seriesQuery"].partition("{")[0] == metric["pods"]["metric"]["name"]
    assert rule["resources"]["overrides"].keys() == {"namespace", "pod"} <= given


def test_prometheus_may_go_to_all_that_it_scrapes(objects: Objects) -> None:
    allowed = flows(objects)
    for scrape in _config(objects, "prometheus-config", "prometheus.yml")["scrape_configs"]:
        if scrape["kubernetes_sd_configs"][0]["role"] == "pod":
            for found, port in _discovered(scrape, objects):
                flow = Flow("monitoring/prometheus", str(found), found.ports[port])
                assert flow in allowed or found.name == "prometheus"


def test_prometheus_may_look_for_pods_where_it_does(objects: Objects) -> None:
    scrapes = _config(objects, "prometheus-config", "prometheus.yml")["scrape_configs"]
    wanted = {
        namespace
        for scrape in scrapes
        for namespace in scrape["kubernetes_sd_configs"][0].get("namespaces", {}).get("names", [])
    }
    granted = {
        role["metadata"]["namespace"]
        for role in of_kind(objects, "Role")
        if role["metadata"]["name"] == "prometheus"
    }
    assert granted == wanted == {"vitrine", "monitoring"}


def test_data_outlives_the_objectives_window(objects: Objects) -> None:
    kept = parse_duration(_option(objects, "prometheus", "--storage.tsdb.retention.time"))
    assert kept >= load_slo().window
    (claim,) = pod(objects, "prometheus").owner["spec"]["volumeClaimTemplates"]
    size = int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi"))
    assert int(_option(objects, "prometheus", "--storage.tsdb.retention.size").removesuffix("GB")) < size


def test_kube_state_metrics_shows_what_is_asked_for_and_no_more(objects: Objects) -> None:
    files = [*PROMETHEUS.glob("rules/*.yaml"), *DASHBOARDS.glob("*.json"), *RUNBOOKS.rglob("*.md")]
    asked = {name for path in files for name in re.findall(r"\bkube_[a-z_]+", path.read_text())}
    shown = _option(objects, "kube-state-metrics", "--metric-allowlist")
    assert {name.strip() for name in shown.split(",")} == asked


def test_kube_state_metrics_may_read_what_it_shows_and_no_more(objects: Objects) -> None:
    shown = set(_option(objects, "kube-state-metrics", "--resources").split(","))
    namespaces = set(_option(objects, "kube-state-metrics", "--namespaces").split(","))
    granted = {
        (role["metadata"]["namespace"], resource)
        for role in of_kind(objects, "Role", "ClusterRole")
        if role["metadata"]["name"].endswith("kube-state-metrics")
        for rule in role["rules"]
        for resource in rule["resources"]
    }
    assert granted == {*product(namespaces, shown)}
    # Each metric is of a kind that it watches: kube_pod_…, kube_deployment_…
    singular = {kind.removesuffix("s") for kind in shown}
    for name in _option(objects, "kube-state-metrics", "--metric-allowlist").split(","):
        assert name.strip().split("_")[1] in singular


def test_alertmanagers_receivers_are_where_they_are_mounted(objects: Objects) -> None:
    config = _config(objects, "alertmanager-config", "alertmanager.yml")
    (container,) = pod(objects, "alertmanager").containers
    (mount,) = (mount for mount in container["volumeMounts"] if mount["name"] == "receivers")
    for receiver in config["receivers"]:
        for webhook in receiver["webhook_configs"]:
            assert webhook["url_file"] == f"{mount['mountPath']}/{receiver['name']}"


def test_alertmanager_remembers_whom_it_told_until_it_tells_again(objects: Objects) -> None:
    config = _config(objects, "alertmanager-config", "alertmanager.yml")
    intervals = re.findall(r"repeat_interval: (\w+)", yaml.safe_dump(config["route"]))
    kept = parse_duration(_option(objects, "alertmanager", "--data.retention"))
    assert kept > max(parse_duration(interval) for interval in intervals)


def test_grafana_reads_what_is_mounted(objects: Objects) -> None:
    (container,) = pod(objects, "grafana").containers
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    (provider,) = _config(objects, "grafana-dashboard-providers", "vitrine.yaml")["providers"]
    assert provider["options"]["path"] == mounts["dashboards"]
    assert mounts["datasources"].endswith("/provisioning/datasources")
    (ini,) = (
        found["data"]["grafana.ini"]
        for found in of_kind(objects, "ConfigMap")
        if "grafana.ini" in found["data"]
    )
    (home,) = re.findall(r"default_home_dashboard_path = (.*)", ini)
    folder, _, file = home.rpartition("/")
    assert (folder, (DASHBOARDS / file).exists()) == (mounts["dashboards"], True)


def test_jaegers_parts_are_all_there_and_used(objects: Objects) -> None:
    config = _config(objects, "jaeger-config", "jaeger.yaml")
    service = config["service"]
    (pipeline,) = service["pipelines"].values()
    for kind in ("receivers", "processors", "exporters"):
        assert set(config[kind]) == set(pipeline[kind])
    assert set(config["extensions"]) == set(service["extensions"])
    backends = config["extensions"]["jaeger_storage"]["backends"]
    assert config["exporters"]["jaeger_storage_exporter"]["trace_storage"] in backends
    assert config["extensions"]["jaeger_query"]["storage"]["traces"] in backends


def test_jaeger_listens_at_its_pods_ports(objects: Objects) -> None:
    config = _config(objects, "jaeger-config", "jaeger.yaml")
    text = yaml.safe_dump(config)
    (reader,) = config["service"]["telemetry"]["metrics"]["readers"]
    assert {
        *map(int, re.findall(r"0\.0\.0\.0:(\d+)", text)),
        reader["pull"]["exporter"]["prometheus"]["port"],
    } == {*pod(objects, "jaeger").ports.values()}


def test_traces_are_kept_by_the_objectives(objects: Objects) -> None:
    sampling = _config(objects, "jaeger-config", "jaeger.yaml")["processors"]["tail_sampling"]
    policies = {policy["type"]: policy for policy in sampling["policies"]}
    assert policies["status_code"]["status_code"]["status_codes"] == ["ERROR"]
    threshold = timedelta(milliseconds=policies["latency"]["latency"]["threshold_ms"])
    assert threshold == load_slo().objectives.latency.threshold
    timeout = timedelta(seconds=Settings.model_fields["request_timeout"].default)
    assert parse_duration(sampling["decision_wait"]) >= timeout + SPAN_DELAY
