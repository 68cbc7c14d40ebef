"""The monitoring with the real Prometheus, the real Alertmanager and the real service under load."""

import asyncio
import queue
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import TypeVar

import pytest

from monitoring.stack.receiver import Notification
from tests.dashboards.boards import PANELS, panel
from tests.fake_nvml import FakeDriver, build
from tests.live.prometheus import Prometheus
from tests.live.stacks import FAKE_SERVICE, ROOT, running_stack
from tests.live.traffic import Traffic
from tests.texts import texts
from tests.tracing.collector import HttpCollector

pytestmark = [pytest.mark.live, pytest.mark.anyio, pytest.mark.timeout(240)]

EMBEDDINGS = "/v1/embeddings"

STATE, KUBELET = "told by kube-state-metrics", "told by the kubelet"
WITHOUT_DATA = {
    "autoscaling: Replicas": STATE,
    "autoscaling: Autoscaler conditions": STATE,
    "autoscaling: Ready": STATE,
    "autoscaling: Restarts": STATE,
    "autoscaling: Last exit codes": STATE,
    "autoscaling: Waiting": STATE,
    "autoscaling: CPU": KUBELET,
    "autoscaling: CPU throttling": KUBELET,
    "autoscaling: Memory": KUBELET,
    "autoscaling: Memory of limit": KUBELET,
}
"""Each panel that shows nothing without Kubernetes, and why."""

T = TypeVar("T")


async def until(look: Callable[[], T | None], seconds: float) -> T:
    """What it sees once it sees something."""
    give_up = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < give_up
        await asyncio.sleep(0.1)
    return seen


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
    print(f"\n{len(PANELS)} panels, {len(WITHOUT_DATA)} without data;")
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
