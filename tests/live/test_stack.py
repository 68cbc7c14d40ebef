"""The monitoring with the real Prometheus, the real Alertmanager and the real service under load."""

import asyncio
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from decimal import Decimal
from itertools import cycle
from pathlib import Path
from typing import TypeVar

import pytest

from monitoring.slo import load_slo
from monitoring.stack.child import StackError
from monitoring.stack.ports import Ports
from monitoring.stack.receiver import Notification
from monitoring.stack.stack import SERVICE, Stack
from tests.dashboards.boards import PANELS, panel
from tests.fake_nvml import FakeDriver, build
from tests.live.prometheus import Prometheus
from tests.live.traffic import Traffic
from tests.texts import texts
from tests.tracing.collector import HttpCollector

pytestmark = [pytest.mark.live, pytest.mark.anyio, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]
FAKE_SERVICE = (sys.executable, "-m", "tests.live.fake_server")
EMBEDDINGS = "/v1/embeddings"

NEEDS_KUBERNETES = {
    *("Replicas", "Autoscaler conditions", "Ready", "Restarts", "Last exit codes", "Waiting"),
    *("CPU", "CPU throttling", "Memory", "Memory of limit"),
}
WITHOUT_DATA = {
    f"autoscaling: {title}": "kube-state-metrics and the kubelet tell it" for title in NEEDS_KUBERNETES
}
"""Each panel that shows nothing on a laptop, and why."""

T = TypeVar("T")


@contextmanager
def running_stack(
    folder: Path,
    window_scale: str,
    *,
    service: tuple[str, ...] = SERVICE,
    told: Callable[[Notification], None] = lambda _: None,
    settings: Mapping[str, str],
) -> Iterator[Stack]:
    """The stack on free ports; of the tester's own settings it knows nothing."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("APP_", "OTEL_"))
    }
    slo = load_slo(window_scale=Decimal(window_scale))
    with Stack(
        folder, Ports.free(), slo, service=service, environment={**environment, **settings}, told=told
    ) as stack:
        yield stack


async def until(look: Callable[[], T | None], seconds: float) -> T:
    """What it sees once it sees something."""
    give_up = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < give_up
        await asyncio.sleep(0.1)
    return seen


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_every_panel_shows_data(tmp_path: Path, minilm: Path) -> None:
    driver = FakeDriver(build(tmp_path / "nvml"), tmp_path)
    bodies = [{"model": "all-MiniLM-L6-v2", "input": text} for text in texts(200, longest=400)]
    with (
        HttpCollector() as collector,
        running_stack(
            tmp_path / "stack",
            "0.05",
            settings={
                "APP_MODEL": str(minilm),
                "APP_TELEMETRY__GPU_INTERVAL": "0.5",
                "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
                "OTEL_EXPORTER_OTLP_PROTOCOL": collector.protocol,
                **driver.environ,
            },
        ) as stack,
    ):
        prometheus = Prometheus(stack.prometheus_url)
        async with Traffic(stack.ports.api, EMBEDDINGS, cycle(bodies), rate=10) as traffic:
            for second in range(15):
                driver.update({"0.energy_millijoules": 9_000_000_000 + 200_000 * second})
                await asyncio.sleep(1)
            driver.report_xid(0, 79)
            await asyncio.sleep(4)  # for an alert about it to fire
            empty = [
                str(panel)
                for panel in PANELS
                for query in panel.queries(rate_interval="10s")
                if not [value for _, value in prometheus.query(query) if value == value]
            ]
            latency = panel("overview", "Latency").queries(rate_interval="10s")[-1]
            traces = prometheus.exemplar_traces(latency, seconds=30)
            collected = {span.trace_id for span in collector.spans}

    assert set(empty) == WITHOUT_DATA.keys()
    assert traffic.statuses[200]
    assert traces & collected
    print(f"\n{len(PANELS)} panels, {len(WITHOUT_DATA)} without data on a laptop;")
    print(f"{len(traces)} exemplars, {len(traces & collected)} of them traces that the collector has")


async def test_an_overload_pages_with_its_runbook_and_resolves(tmp_path: Path) -> None:
    told: queue.Queue[tuple[float, Notification]] = queue.Queue()
    notified: list[tuple[float, Notification]] = []

    def page(status: str) -> float | None:
        """When the page came, if it has."""
        while not told.empty():
            notified.append(told.get())
        for when, notification in notified:
            if notification.status == status and notification.labels == page_labels:
                assert notification.receiver == "serving-page"
                return when
        return None

    page_labels = {
        "alertname": "AvailabilityBudgetBurn",
        "job": "vitrine",
        "severity": "critical",
        "slo": "availability",
        "team": "serving",
        "window": "1h",
    }
    body = {"model": "fake", "input": "ten words that cost the fake model fifty milliseconds"}
    with running_stack(
        tmp_path,
        "0.01",
        service=FAKE_SERVICE,
        told=lambda notification: told.put((time.monotonic(), notification)),
        settings={"APP_MODEL": "fake", "FAKE_SECONDS_PER_TOKEN": "0.005"},
    ) as stack:
        prometheus = Prometheus(stack.prometheus_url)
        firing = f'ALERTS{{alertname="{page_labels["alertname"]}",window="1h",alertstate="firing"}}'
        async with Traffic(stack.ports.api, EMBEDDINGS, cycle([body]), rate=5) as traffic:
            await until(lambda: prometheus.query('slo:sli_error:ratio_rate1h{slo="availability"} == 0'), 20)
            await asyncio.sleep(5)
            assert not prometheus.query(firing)
            assert not page("firing")

            traffic.rate = 200
            began = time.monotonic()
            await until(lambda: prometheus.query(firing), 40)
            fired = time.monotonic()
            paged = await until(lambda: page("firing"), 20)
            listed = prometheus.query(panel("overview", "Firing alerts").queries()[0])

            traffic.rate = 5
            ended = time.monotonic()
            await until(lambda: not prometheus.query(firing), 40)
            quiet = time.monotonic()
            resolved = await until(lambda: page("resolved"), 20)

    assert {200, 429} <= set(traffic.statuses)
    (runbook,) = {
        notification.annotations["runbook_url"]
        for _, notification in notified
        if notification.labels == page_labels
    }
    assert runbook.endswith("/docs/runbooks/AvailabilityBudgetBurn.md")
    assert (ROOT / "docs/runbooks/AvailabilityBudgetBurn.md").exists()
    assert "AvailabilityBudgetBurn" in {labels["alertname"] for labels, _ in listed}
    print(f"\noverload → firing {fired - began:.1f} s → webhook {paged - began:.1f} s (hour = 36 s);")
    print(f"its end → quiet {quiet - ended:.1f} s → webhook {resolved - ended:.1f} s; {traffic.statuses}")


def command(ports: Ports, **environment: str) -> "subprocess.Popen[str]":
    """`make stack` without make."""
    options = [f"--{name}-port={port}" for name, port in asdict(ports).items()]
    return subprocess.Popen(
        [sys.executable, "-m", "monitoring.stack", *options],
        env={**os.environ, **environment},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_and_leaves_nothing(minilm: Path, number: signal.Signals) -> None:
    ports = Ports.free()
    stack = command(ports, APP_MODEL=str(minilm))
    assert stack.stdout
    lines = iter(stack.stdout.readline, "")
    said = []
    for line in lines:
        said.append(line)
        if line.startswith("Ctrl-C"):
            break
    started = children(stack.pid)
    folder = re.search(r"/\S*vitrine-stack-\S+", "".join(said))
    assert folder
    assert Path(folder[0]).is_dir()
    assert len(started) == 3
    for port in (ports.api, ports.ops, ports.prometheus, ports.alertmanager):
        assert f"127.0.0.1:{port}/" in "".join(said)

    stack.send_signal(number)
    _, errors = stack.communicate(timeout=60)

    assert (stack.returncode, errors) == (0, "")
    assert not any(map(alive, started))
    assert not Path(folder[0]).exists()


def test_a_signal_while_the_model_loads_ends_all(minilm: Path) -> None:
    stack = command(Ports.free(), APP_MODEL=str(minilm))
    give_up = time.monotonic() + 30
    while len(started := children(stack.pid)) < 3:
        assert time.monotonic() < give_up
        time.sleep(0.02)

    stack.send_signal(signal.SIGTERM)
    _, errors = stack.communicate(timeout=60)

    assert (stack.returncode, errors) == (1, "Stopped before all was ready.\n")
    assert not any(map(alive, started))


def failure(stack: "subprocess.Popen[str]") -> str:
    """What it says when it cannot start."""
    _, errors = stack.communicate(timeout=60)
    assert stack.returncode == 1
    return errors


def test_a_port_in_use_is_named() -> None:
    ports = Ports.free()
    with socket.create_server(("127.0.0.1", ports.prometheus)):
        assert failure(command(ports)) == (
            f"Port {ports.prometheus} (prometheus) is taken: end what listens there, "
            "or choose another by --prometheus-port.\n"
        )


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    assert failure(command(Ports.free(), PATH=str(tmp_path))).startswith(
        "There is no program prometheus-alertmanager: install it"
    )


def test_a_service_that_cannot_start_says_why(tmp_path: Path) -> None:
    errors = failure(command(Ports.free(), APP_MODEL=str(tmp_path / "none")))
    assert "vitrine has ended with exit code 66" in errors
    assert str(tmp_path / "none") in errors


def test_a_part_that_dies_ends_the_watch(tmp_path: Path) -> None:
    with running_stack(tmp_path, "1", service=FAKE_SERVICE, settings={"APP_MODEL": "fake"}) as stack:
        alertmanager, prometheus, vitrine = stack.children
        os.kill(prometheus.pid, signal.SIGKILL)
        with pytest.raises(StackError, match="prometheus has ended with exit code -9"):
            stack.watch()
        assert alive(vitrine.pid)
    assert not alive(alertmanager.pid)
    assert not alive(vitrine.pid)
