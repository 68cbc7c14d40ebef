"""The adapter's query on the real Prometheus, with real instances, and what the autoscaler makes of it."""

import asyncio
import time
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from monitoring.autoscaling.algorithm import Autoscaler, PodMetric, milli, propose
from monitoring.autoscaling.spec import METRIC, read_spec
from monitoring.generate import PROMETHEUS
from monitoring.stack.child import Child, program
from monitoring.stack.ports import Ports
from tests.live.adapter import Adapter
from tests.live.conftest import Server, Start
from tests.live.prometheus import Prometheus
from tests.live.traffic import Traffic

pytestmark = [pytest.mark.live, pytest.mark.anyio]

LOADED, IDLE, DRAINING = "vitrine-5d9c7b-aaaaa", "vitrine-5d9c7b-bbbbb", "vitrine-5d9c7b-ccccc"
BODY = {"model": "fake", "input": "ten words that cost the fake model fifty milliseconds"}


def prometheus_config(servers: dict[str, Server]) -> dict[str, Any]:
    """The cluster's, with its own relabelling; discovery's labels are given instead of discovered."""
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    (job,) = (job for job in config["scrape_configs"] if job["job_name"] == "vitrine")
    del job["kubernetes_sd_configs"]
    meta = "__meta_kubernetes_"
    job["static_configs"] = [
        {
            "targets": [server.ops_url.removeprefix("http://").rstrip("/")],
            "labels": {
                f"{meta}namespace": "vitrine",
                f"{meta}pod_name": pod,
                f"{meta}pod_phase": "Running",
                f"{meta}pod_container_name": "vitrine",
                f"{meta}pod_container_port_name": "ops",
                f"{meta}pod_node_name": "worker",
            },
        }
        for pod, server in servers.items()
    ]
    times = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    return {"global": times, "scrape_configs": [job]}


def own_saturation(server: Server) -> float:
    """What the instance itself says."""
    with urlopen(f"{server.ops_url}/metrics", timeout=5) as reply:
        lines = reply.read().decode().splitlines()
    (value,) = (line.split()[1] for line in lines if line.startswith(METRIC))
    return float(value)


def read(prometheus: Prometheus) -> tuple[dict[str, int], float] | None:
    """What the adapter tells of the pods, and when the loaded one was scraped for it; None if too early."""
    scraped = f'timestamp({METRIC}{{pod="{LOADED}"}})'
    before = prometheus.query(scraped)
    adapter = Adapter(prometheus)
    if METRIC not in adapter.discover():
        return None
    values = adapter.pods("vitrine", METRIC, (LOADED, IDLE, DRAINING))
    return (values, before[0][1]) if before and prometheus.query(scraped) == before else None


async def test_the_adapters_query_tells_the_loaded_pod_from_the_idle(tmp_path: Path, start: Start) -> None:
    settings = {"APP_MODEL": "fake", "FAKE_SECONDS_PER_TOKEN": "0.005", "APP_DRAIN_DELAY": "60"}
    servers = {pod: start(fake=True, **settings) for pod in (LOADED, IDLE, DRAINING)}
    for server in servers.values():
        server.wait_until_ready()
    servers[DRAINING].terminate()
    servers[DRAINING].wait_for("draining")

    config = tmp_path / "prometheus.yml"
    config.write_text(yaml.safe_dump(prometheus_config(servers)))
    address = f"127.0.0.1:{Ports.free().prometheus}"
    command = (
        program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address={address}",
    )
    prometheus = Prometheus(f"http://{address}")
    own: list[tuple[float, float]] = []
    with Child(command, tmp_path / "prometheus.log") as child:
        async with Traffic(servers[LOADED].port, "/v1/embeddings", cycle([BODY]), rate=40) as traffic:
            give_up = time.monotonic() + 30
            seen: tuple[dict[str, int], float] | None = None
            while seen is None or seen[0].get(LOADED, 0) < 1000 or IDLE not in seen[0]:
                child.check()
                assert time.monotonic() < give_up, seen
                for _ in range(10):
                    own.append((time.time(), await asyncio.to_thread(own_saturation, servers[LOADED])))
                    await asyncio.sleep(0.05)
                seen = await asyncio.to_thread(read, prometheus)
            own.append((time.time(), await asyncio.to_thread(own_saturation, servers[LOADED])))
    values, scraped = seen

    assert traffic.statuses[200]
    # The pod that is not ready is left out, so that it counts as not known
    assert values.keys() == {LOADED, IDLE}
    assert values[IDLE] == milli(own_saturation(servers[IDLE])) == 0
    around = [value for when, value in own if abs(when - scraped) < 1]
    assert milli(min(around)) <= values[LOADED] <= milli(max(around)), around

    spec = read_spec()
    metrics = [PodMetric(values.get(pod)) for pod in servers]
    wanted = propose(3, metrics, milli(float(spec.target)), spec.tolerance)
    assert wanted == pytest.approx(values[LOADED] / 1000 / float(spec.target), abs=1)
    print(f"\nsaturation {values[LOADED] / 1000:.2f} and 0, target {spec.target}: {wanted} replicas wanted")
    # Far more than may be added at once: four pods, a minute later as many as there are, up to the maximum
    autoscaler = Autoscaler(spec)
    replicas = [3]
    for now in range(0, 75, 15):
        replicas.append(autoscaler.reconcile(now, replicas[-1], metrics))
    assert replicas == [3, 7, 7, 7, 7, 10]
