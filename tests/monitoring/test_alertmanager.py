"""Who is told what: by the real amtool, and by a real Alertmanager."""

import json
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from promql_parser import parse_duration

from monitoring.generate import PROMETHEUS
from tests.monitoring.rules import ALERTS, Rule, run

CLUSTER = PROMETHEUS / "alertmanager/alertmanager.yml"
LOCAL = PROMETHEUS / "alertmanager/alertmanager.local.yml"

RECEIVERS = {
    ("critical", "serving"): "serving-page",
    ("critical", "platform"): "platform-page",
    ("warning", "serving"): "serving-ticket",
    ("warning", "platform"): "platform-ticket",
    ("info", "serving"): "notes",
    ("none", "platform"): "heartbeat",
}


def test_amtool_accepts_the_configuration() -> None:
    run("amtool", "check-config", LOCAL)


def test_the_cluster_differs_only_in_that_addresses_are_secrets() -> None:
    cluster, local = yaml.safe_load(CLUSTER.read_text()), yaml.safe_load(LOCAL.read_text())
    for receiver in cluster["receivers"]:
        for webhook in receiver["webhook_configs"]:
            path = webhook.pop("url_file")
            assert path == f"/etc/alertmanager/secrets/{receiver['name']}"
            webhook["url"] = f"http://127.0.0.1:9094/{receiver['name']}"
    assert cluster == local
    assert not re.search(r"url: ", CLUSTER.read_text())


@pytest.mark.parametrize("alert", ALERTS, ids=str)
def test_each_alert_reaches_its_receiver(alert: Rule) -> None:
    labels = {"alertname": alert.content["alert"], "job": "vitrine", **alert.labels}
    receiver = RECEIVERS[labels["severity"], labels["team"]]

    run(
        *("amtool", "config", "routes", "test", f"--config.file={LOCAL}", f"--verify.receivers={receiver}"),
        *(f"{name}={value}" for name, value in labels.items()),
    )


def test_an_alert_that_nobody_claims_still_becomes_a_ticket() -> None:
    run(
        "amtool",
        "config",
        "routes",
        "test",
        f"--config.file={LOCAL}",
        "--verify.receivers=platform-ticket",
        "a=b",
    )


@dataclass(frozen=True)
class Route:
    """How a receiver is told, with what it inherits from the routes above."""

    receiver: str
    group_by: list[str]
    group_wait: str
    group_interval: str
    repeat_interval: str

    @property
    def first(self) -> timedelta:
        """Until it is told of a new alert."""
        return timedelta(0) if self.group_wait == "0s" else parse_duration(self.group_wait)

    @property
    def again(self) -> timedelta:
        """Until it is told again of an alert that still fires: whole group intervals."""
        interval, repeat = parse_duration(self.group_interval), parse_duration(self.repeat_interval)
        return -(-repeat // interval) * interval


def _routes(route: dict[str, Any], above: dict[str, Any]) -> Iterator[Route]:
    settings = above | {name: route[name] for name in Route.__annotations__ if name in route}
    yield Route(**settings)
    for below in route.get("routes", ()):
        yield from _routes(below, settings)


ROUTES = list(_routes(yaml.safe_load(CLUSTER.read_text())["route"], {}))


def _of(*receivers: str) -> list[Route]:
    found = [route for route in ROUTES if route.receiver in receivers]
    assert len(found) == len(receivers)
    return found


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.receiver)
def test_one_notification_is_of_one_alert_in_one_namespace(route: Route) -> None:
    assert set(route.group_by) == {"alertname", "job", "namespace"}


def test_a_page_comes_at_once_and_again_within_the_hour() -> None:
    for route in _of("serving-page", "platform-page"):
        assert route.first <= timedelta(seconds=10)
        assert timedelta(minutes=30) <= route.again <= timedelta(hours=1)


def test_a_ticket_gathers_what_comes_together_and_is_not_told_again_all_day() -> None:
    for route in _of("serving-ticket", "platform-ticket", "notes"):
        assert timedelta(seconds=10) < route.first <= timedelta(minutes=1)
        assert route.again >= timedelta(hours=12)


def test_the_heartbeat_comes_every_minute_and_never_ends() -> None:
    """Its receiver raises the alarm when it stops coming, and not when it is told that all is well."""
    (route,) = _of("heartbeat")
    assert route.first == timedelta(0)
    assert route.again <= timedelta(minutes=1)
    receivers = {each["name"]: each for each in yaml.safe_load(CLUSTER.read_text())["receivers"]}
    for name, receiver in receivers.items():
        (webhook,) = receiver["webhook_configs"]
        assert webhook.get("send_resolved", True) == (name != "heartbeat")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Alertmanager:
    """A running one, which notifies nobody: its receivers' port is closed."""

    def __init__(self, port: int) -> None:
        self.api = f"http://127.0.0.1:{port}/api/v2/alerts"

    def silenced(self, *alerts: dict[str, str]) -> set[str]:
        """The names, and severities, of those alerts that are inhibited while all of them fire."""
        body = json.dumps([{"labels": labels} for labels in alerts]).encode()
        request = urllib.request.Request(self.api, body, {"content-type": "application/json"})
        urllib.request.urlopen(request, timeout=5).close()
        deadline = time.monotonic() + 10
        seen: set[str] = set()
        since = time.monotonic()
        # The inhibitor hears of an alert by a way of its own, later than the state says: let it settle.
        while time.monotonic() - since < 1:
            with urllib.request.urlopen(self.api, timeout=5) as answer:
                known: list[dict[str, Any]] = json.load(answer)
            inhibited = {
                f"{alert['labels']['alertname']} {alert['labels']['severity']}"
                for alert in known
                if alert["status"]["inhibitedBy"]
            }
            processed = all(alert["status"]["state"] != "unprocessed" for alert in known)
            if inhibited != seen or len(known) != len(alerts) or not processed:
                seen, since = inhibited, time.monotonic()
                assert since < deadline, known
            time.sleep(0.1)
        return seen


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[Alertmanager]:
    config = tmp_path / "alertmanager.yml"
    config.write_text(re.sub(r"group_wait: \w+", "group_wait: 0s", LOCAL.read_text()))
    port = _free_port()
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [
                "prometheus-alertmanager",
                f"--config.file={config}",
                f"--storage.path={tmp_path / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
            ],
            stdout=log,
            stderr=log,
        )
        try:
            running = Alertmanager(port)
            deadline = time.monotonic() + 20
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=1).close()
                    break
                except OSError:
                    assert process.poll() is None, (tmp_path / "log").read_text()
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
            yield running
        finally:
            process.terminate()
            process.wait(10)


def _alert(name: str, severity: str, team: str = "serving", **labels: str) -> dict[str, str]:
    return {"alertname": name, "severity": severity, "team": team, **labels}


@pytest.mark.live
def test_a_page_silences_the_warning_on_the_same_thing_and_no_other(alertmanager: Alertmanager) -> None:
    assert alertmanager.silenced(
        _alert("AvailabilityBudgetBurn", "critical", job="vitrine", slo="availability", window="1h"),
        _alert("AvailabilityBudgetBurn", "warning", job="vitrine", slo="availability", window="3d"),
        _alert("LatencyBudgetBurn", "warning", job="vitrine", slo="latency", window="3d"),
        _alert("ModelNotReady", "critical", job="vitrine", model_name="a"),
        _alert("ModelNotReady", "warning", job="vitrine", model_name="a", instance="1"),
    ) == {"AvailabilityBudgetBurn warning", "ModelNotReady warning"}


@pytest.mark.live
def test_another_models_warning_is_not_silenced(alertmanager: Alertmanager) -> None:
    assert (
        alertmanager.silenced(
            _alert("ModelNotReady", "critical", job="vitrine", model_name="a"),
            _alert("ModelNotReady", "warning", job="vitrine", model_name="b", instance="1"),
        )
        == set()
    )


@pytest.mark.live
def test_no_target_silences_symptoms_but_no_cause(alertmanager: Alertmanager) -> None:
    assert alertmanager.silenced(
        _alert("TargetDown", "critical", job="vitrine"),
        _alert("TargetDown", "warning", job="vitrine", instance="1", namespace="vitrine", pod="p"),
        _alert("LatencyBudgetBurn", "critical", job="vitrine", slo="latency", window="1h"),
        _alert("SaturationHigh", "warning", job="vitrine"),
        _alert("CrashLooping", "warning", job="kube-state-metrics", namespace="vitrine", pod="p"),
        _alert("GpuMetricsAbsent", "warning", "platform", namespace="vitrine", pod="p"),
        _alert("GpuLost", "critical", "platform", job="vitrine", namespace="vitrine", pod="p"),
    ) == {
        "TargetDown warning",
        "LatencyBudgetBurn critical",
        "SaturationHigh warning",
        "GpuMetricsAbsent warning",
    }


@pytest.mark.live
def test_one_instance_down_silences_nothing_about_the_service(alertmanager: Alertmanager) -> None:
    assert (
        alertmanager.silenced(
            _alert("TargetDown", "warning", job="vitrine", instance="1", namespace="vitrine", pod="p"),
            _alert("LatencyBudgetBurn", "critical", job="vitrine", slo="latency", window="1h"),
            _alert("GpuMetricsAbsent", "warning", "platform", namespace="vitrine", pod="other"),
        )
        == set()
    )
