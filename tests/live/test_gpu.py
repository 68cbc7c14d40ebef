"""The server on a machine with GPUs, as far as it can see: NVML is real, the driver below it is a fake."""

import asyncio
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fake_nvml import FakeDriver, build
from tests.live.client import post_once
from tests.live.conftest import Server, Start

pytestmark = [pytest.mark.live, pytest.mark.anyio]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def driver(library: Path, tmp_path: Path) -> FakeDriver:
    return FakeDriver(library, tmp_path)


@pytest.fixture
def server(start: Start, driver: FakeDriver) -> Iterator[Server]:
    server = start(
        fake=True,
        APP_MODEL="fake",
        APP_TELEMETRY__GPU_INTERVAL="0.1",
        APP_TELEMETRY__GPU_DEADLINE="0.5",
        FAKE_DEVICE="cuda:0",
        **driver.environ,
    ).wait_until_ready()
    yield server
    # A driver that hangs must not hold up the end.
    started = time.monotonic()
    server.terminate()
    assert server.wait() == 0
    assert time.monotonic() - started < 10


def gpu_samples(server: Server) -> dict[str, float]:
    """Samples of GPU 0 by name; those with a label of their own, by name and value."""
    with urllib.request.urlopen(f"{server.ops_url}/metrics", timeout=5) as reply:
        text = reply.read().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            own = [
                value for name, value in sample.labels.items() if name not in {"gpu", "uuid", "device_name"}
            ]
            if sample.name.startswith("gpu_") and sample.labels.get("gpu", "0") == "0":
                found[".".join([sample.name, *own])] = sample.value
    return found


def readiness(server: Server) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{server.ops_url}/readyz", timeout=5) as reply:
            return int(reply.status), reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.05)


async def test_a_gpu_is_shown_lost_and_recovered(server: Server, driver: FakeDriver) -> None:
    await until(lambda: gpu_samples(server).get("gpu_up") == 1)
    healthy = gpu_samples(server)
    assert healthy["gpu_memory_total_bytes"] == 80 * 2**30
    assert healthy["gpu_power_watts"] == pytest.approx(312.345)
    assert readiness(server)[0] == 200

    driver.update({"0.lost": 1})
    await until(lambda: gpu_samples(server).get("gpu_up") == 0)
    assert "gpu_temperature_celsius" not in gpu_samples(server)
    status, reason = readiness(server)
    assert status == 503
    assert "GPU 0" in reason

    driver.update({"0.lost": 0})
    await until(lambda: gpu_samples(server).get("gpu_up") == 1)
    assert readiness(server)[0] == 200


async def test_what_a_gpu_cannot_tell_is_absent(server: Server, driver: FakeDriver) -> None:
    await until(lambda: "gpu_power_watts" in gpu_samples(server))
    not_supported = 3
    driver.update({"error.nvmlDeviceGetPowerUsage": not_supported, "0.lost": 1})
    await until(lambda: gpu_samples(server).get("gpu_up") == 0)
    driver.update({"0.lost": 0})
    await until(lambda: gpu_samples(server).get("gpu_up") == 1)
    samples = gpu_samples(server)
    assert "gpu_power_watts" not in samples
    assert "gpu_temperature_celsius" in samples


async def test_a_driver_that_hangs_holds_up_neither_scrapes_nor_requests(
    server: Server, driver: FakeDriver
) -> None:
    await until(lambda: gpu_samples(server).get("gpu_up") == 1)
    driver.update({"hang.nvmlDeviceGetTemperature": 1, "hang.nvmlDeviceGetTemperatureV": 1})
    await until(lambda: gpu_samples(server).get("gpu_up") == 0)
    stopped = gpu_samples(server)["gpu_collect_last_success_timestamp_seconds"]
    started = time.monotonic()
    reply = await post_once(server.port, "/embed", {"inputs": "still served"})
    again = gpu_samples(server)["gpu_collect_last_success_timestamp_seconds"]
    assert time.monotonic() - started < 2
    assert reply.status == 200
    assert again == stopped
