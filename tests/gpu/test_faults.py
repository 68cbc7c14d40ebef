"""What happens when the driver is missing, loses a GPU or hangs: known, logged once, and never contagious."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.telemetry.gpu import GpuTelemetry
from tests.fake_nvml import FakeDriver
from tests.gpu.conftest import DEADLINE, Exposer

Expose = Callable[..., Exposer]

UNINITIALIZED, NO_PERMISSION, DRIVER_NOT_LOADED, GPU_IS_LOST, MISMATCH, UNKNOWN = 1, 4, 9, 15, 18, 999
UUID_0, UUID_1 = (f"GPU-00000000-0000-0000-0000-{serial:012}" for serial in range(2))


def last_success(exposer: Exposer) -> float:
    return exposer.series()["gpu_collect_last_success_timestamp_seconds"]


def logs(exposer: Exposer, event: str) -> list[dict[str, Any]]:
    return [line for line in exposer.ask("logs") if line["event"] == event]


def states(exposer: Exposer) -> list[str]:
    return [line["state"] for line in logs(exposer, "gpu_telemetry_state")]


def until_state(exposer: Exposer, state: str) -> Any:
    return exposer.until(lambda: exposer.ask("status"), lambda status: status["state"] == state)


def readings(series: dict[str, float]) -> set[str]:
    return {name for name in series if not name.startswith("gpu_xid")}


def test_a_lost_gpu_is_down_and_the_others_go_on(expose: Expose, driver: FakeDriver) -> None:
    exposer = expose()
    exposer.wait_for(gpu_up=1)
    driver.report_xid(0, 79)
    driver.update({"0.lost": 1})
    lost = exposer.wait_for(gpu_up=0)
    assert readings(lost) == {"gpu_up"}
    assert lost["gpu_xid_errors_total{79}"] == 1

    before = last_success(exposer)
    driver.update({"1.temperature": 90})
    exposer.until(lambda: exposer.series(gpu="1"), lambda series: series.get("gpu_temperature_celsius") == 90)
    assert last_success(exposer) > before
    healthy, reason = exposer.ask("healthy")
    assert not healthy
    assert "GPU 0 (GPU-00000000-0000-0000-0000-000000000000) is lost: GPU is lost" in reason
    assert "GPU 1" not in reason


def test_a_lost_gpu_comes_back_by_a_new_session(expose: Expose, driver: FakeDriver) -> None:
    exposer = expose()
    before = exposer.wait_for(gpu_up=1)
    driver.report_xid(0, 79)
    driver.update({"0.lost": 1})
    exposer.wait_for(gpu_up=0)
    driver.update({"0.lost": 0, "0.pcie_transmit": 10})
    after = exposer.wait_for(gpu_up=1)
    assert after.keys() == before.keys()
    assert after["gpu_xid_errors_total{79}"] == 1
    assert after["gpu_pcie_bytes_total{transmit}"] == 10  # the counter began at zero again, it did not wrap
    assert exposer.ask("healthy") == [True, ""]
    assert [line["uuid"] for line in logs(exposer, "gpu_lost")] == [UUID_0]
    assert [line["uuid"] for line in logs(exposer, "gpu_recovered")] == [UUID_0]
    driver.report_xid(0, 79)
    exposer.wait_for(**{"gpu_xid_errors_total{79}": 2})


def test_the_xid_that_comes_after_the_loss_is_counted(expose: Expose, driver: FakeDriver) -> None:
    exposer = expose()
    exposer.wait_for(gpu_up=1)
    driver.update({"hang.nvmlDeviceGetUtilizationRates": 1})
    exposer.wait_for(gpu_up=0)  # past the events of this sample
    driver.report_xid(0, 79)
    driver.update({"hang.nvmlDeviceGetUtilizationRates": 0, "0.lost": 1})
    exposer.wait_for(**{"gpu_xid_errors_total{79}": 1, "gpu_up": 0})


def test_a_gpu_that_is_found_again_but_not_well_has_not_recovered(expose: Expose, driver: FakeDriver) -> None:
    exposer = expose()
    exposer.wait_for(gpu_up=1)
    driver.update({"0.error.nvmlDeviceGetUtilizationRates": GPU_IS_LOST})
    sessions = driver.calls()["nvmlInitWithFlags"]
    exposer.until(driver.calls, lambda calls: calls["nvmlInitWithFlags"] > sessions + 2)
    assert exposer.series(gpu="0")["gpu_up"] == 0
    assert len(logs(exposer, "gpu_lost")) == 1
    assert logs(exposer, "gpu_recovered") == []


def test_a_gpu_lost_for_long_is_looked_for_less_and_less(expose: Expose, driver: FakeDriver) -> None:
    driver.update({"0.lost": 1})
    exposer = expose()
    exposer.until(driver.calls, lambda calls: calls["nvmlDeviceGetRemappedRows"] >= 24)
    assert 2 <= driver.calls()["nvmlInitWithFlags"] <= 6
    assert len(logs(exposer, "gpu_lost")) == 1


def test_a_gpu_lost_before_it_was_ever_read_is_known_by_its_index(expose: Expose, driver: FakeDriver) -> None:
    driver.update({"1.lost": 1})
    exposer = expose()
    exposer.wait_for(gpu_up=1)
    assert exposer.series(gpu="1", uuid="") == exposer.series(gpu="1") == {"gpu_up": 0}
    assert exposer.ask("healthy")[0] is False
    driver.update({"1.lost": 0})
    exposer.until(lambda: exposer.series(gpu="1", uuid=UUID_1).get("gpu_up"), lambda up: up == 1)
    assert len(exposer.series(gpu="1")) > 1
    assert exposer.ask("healthy") == [True, ""]


def test_a_gpu_that_leaves_the_list_is_lost_though_another_takes_its_index(
    expose: Expose, driver: FakeDriver
) -> None:
    exposer = expose()
    exposer.wait_for(gpu_up=1)
    driver.update({"count": 1, "0.serial": 1, "error.nvmlEventSetWait_v2": UNKNOWN})
    exposer.until(lambda: exposer.series(uuid=UUID_0).get("gpu_up"), lambda up: up == 0)
    assert exposer.series(uuid=UUID_1)["gpu_up"] == 1
    assert exposer.ask("healthy")[0] is False


@pytest.mark.parametrize(
    "function", ["nvmlDeviceGetPowerUsage", "nvmlEventSetWait_v2", "nvmlDeviceGetMigMode"]
)
def test_a_hanging_driver_hangs_nothing_else(expose: Expose, driver: FakeDriver, function: str) -> None:
    exposer = expose()
    driver.report_xid(0, 31)
    before = exposer.wait_for(**{"gpu_up": 1, "gpu_xid_errors_total{31}": 1})
    threads = exposer.ask("threads")
    driver.update({f"hang.{function}": 1})
    down = exposer.wait_for(gpu_up=0)
    assert readings(down) == {"gpu_up"}
    assert down["gpu_xid_errors_total{31}"] == 1
    assert exposer.series(gpu="1")["gpu_up"] == 0

    stopped_at = last_success(exposer)
    calls = driver.calls()
    slowest = 0.0
    for _ in range(20):
        exposer.ask("metrics")
        slowest = max(slowest, exposer.seconds)
        time.sleep(0.02)
    assert slowest < 0.1
    assert last_success(exposer) == stopped_at
    assert exposer.ask("threads") == threads
    assert driver.calls() == calls
    assert exposer.ask("healthy") == [True, ""]
    status = exposer.ask("status")
    assert status["state"] == "not_responding"
    at = "events" if "Event" in function else "GPU 0"
    assert status["reason"].startswith("the driver has not answered for ")
    assert status["reason"].endswith(f" s (at {at})")

    driver.update({f"hang.{function}": 0})
    assert exposer.wait_for(gpu_up=1).keys() == before.keys()
    assert last_success(exposer) > stopped_at
    assert states(exposer) == ["ready", "not_responding", "ready"]


@pytest.mark.parametrize("function", ["nvmlInitWithFlags", "nvmlDeviceGetName", "nvmlShutdown"])
def test_close_and_exit_do_not_wait_for_a_hanging_driver(
    expose: Expose, driver: FakeDriver, function: str
) -> None:
    exposer = expose()
    if function == "nvmlShutdown":
        exposer.wait_for(gpu_up=1)
    driver.update({f"hang.{function}": 1, "0.lost": 1})
    exposer.until(driver.calls, lambda calls: calls[function])
    exposer.ask("close")
    assert exposer.seconds < 2 * DEADLINE
    assert exposer.ask("metrics") == ""
    assert exposer.stop() < 2
    assert exposer.process.returncode == 0


def test_a_call_that_returns_after_close_changes_nothing(expose: Expose, driver: FakeDriver) -> None:
    exposer = expose()
    exposer.wait_for(gpu_up=1)
    driver.update({"hang.nvmlDeviceGetPowerUsage": 1})
    exposer.wait_for(gpu_up=0)
    exposer.ask("close")
    driver.update({"hang.nvmlDeviceGetPowerUsage": 0})
    exposer.until(lambda: exposer.ask("threads"), lambda threads: threads == 1)
    assert exposer.ask("metrics") == ""
    assert driver.calls()["nvmlShutdown"] == 1


def test_close_ends_the_session_and_the_thread(expose: Expose, driver: FakeDriver) -> None:
    exposer = expose()
    exposer.wait_for(gpu_up=1)
    exposer.ask("close")
    calls = driver.calls()
    assert calls["nvmlInitWithFlags"] == calls["nvmlShutdown"] == calls["nvmlEventSetFree"] == 1
    assert exposer.ask("threads") == 1
    assert exposer.ask("status")["state"] == "closed"


def test_a_scrape_never_calls_the_driver(expose: Expose, driver: FakeDriver) -> None:
    exposer = expose(interval=60)
    exposer.wait_for(gpu_up=1)
    calls = driver.calls()
    for command in ["metrics", "status", "healthy"] * 10:
        exposer.ask(command)
    assert driver.calls() == calls


def test_without_the_library_there_are_no_gpu_series(expose: Expose, tmp_path: Path) -> None:
    exposer = expose({"LD_LIBRARY_PATH": str(tmp_path)})
    status = until_state(exposer, "library_missing")
    assert "libnvidia-ml.so.1 was not found" in status["reason"]
    assert exposer.ask("metrics") == ""
    assert exposer.ask("healthy") == [True, ""]
    time.sleep(0.3)
    assert states(exposer) == ["library_missing"]
    assert exposer.ask("logs")[0]["level"] == "info"


@pytest.mark.parametrize(
    "broken", ["raise ImportError('no pynvml')", "raise RuntimeError('odd')", "nvmlInit = None"]
)
def test_a_broken_nvidia_ml_py_is_a_status(expose: Expose, tmp_path: Path, broken: str) -> None:
    (tmp_path / "pynvml.py").write_text(broken)
    exposer = expose({"PYTHONPATH": str(tmp_path)})
    status = exposer.until(lambda: exposer.ask("status"), lambda status: status["state"] != "starting")
    assert status["state"] == ("library_missing" if "Import" in broken else "failed")
    assert exposer.ask("metrics") == ""


@pytest.mark.parametrize(
    ("error", "state", "words"),
    [
        (MISMATCH, "version_mismatch", "different versions"),
        (DRIVER_NOT_LOADED, "driver_not_loaded", "not loaded"),
        (UNKNOWN, "failed", "Unknown Error"),
        (1234, "failed", "1234"),
    ],
)
def test_a_driver_that_does_not_start_says_why_and_is_tried_again(
    expose: Expose, driver: FakeDriver, error: int, state: str, words: str
) -> None:
    driver.update({"error.nvmlInitWithFlags": error})
    exposer = expose()
    assert words in until_state(exposer, state)["reason"]
    assert exposer.ask("metrics") == ""
    driver.update({"error.nvmlInitWithFlags": 0})
    exposer.wait_for(gpu_up=1)
    assert states(exposer) == [state, "ready"]


def test_a_driver_without_devices_is_no_fault(expose: Expose, driver: FakeDriver) -> None:
    driver.update({"count": 0})
    exposer = expose()
    until_state(exposer, "no_device")
    assert exposer.ask("metrics") == ""
    assert exposer.ask("healthy") == [True, ""]


def test_a_driver_that_goes_away_takes_all_devices_down_until_it_is_back(
    expose: Expose, driver: FakeDriver
) -> None:
    exposer = expose()
    exposer.wait_for(gpu_up=1)
    driver.update({"0.error.nvmlDeviceGetClockInfo": UNINITIALIZED, "0.pcie_transmit": 1_000_500})
    exposer.wait_for(gpu_up=0)
    assert exposer.series(gpu="1")["gpu_up"] == 0
    assert until_state(exposer, "failed")
    driver.update({"0.error.nvmlDeviceGetClockInfo": 0})
    assert exposer.wait_for(gpu_up=1)["gpu_pcie_bytes_total{transmit}"] == 500


def test_broken_events_are_set_up_again(expose: Expose, driver: FakeDriver) -> None:
    exposer = expose()
    exposer.wait_for(gpu_up=1)
    driver.update({"error.nvmlEventSetWait_v2": GPU_IS_LOST})
    exposer.until(driver.calls, lambda calls: calls["nvmlEventSetCreate"] > 1)
    assert exposer.series(gpu="0")["gpu_up"] == 1
    driver.update({"error.nvmlEventSetWait_v2": 0})
    driver.report_xid(0, 48)
    exposer.wait_for(**{"gpu_xid_errors_total{48}": 1})


def test_gpus_of_others_are_passed_over(expose: Expose, driver: FakeDriver) -> None:
    driver.update({"0.error.nvmlDeviceGetHandleByIndex_v2": NO_PERMISSION})
    exposer = expose()
    exposer.until(lambda: exposer.series(gpu="1"), bool)
    assert exposer.series(gpu="0") == {}
    assert exposer.ask("healthy") == [True, ""]


@pytest.mark.parametrize("other_is_lost", [0, 1])
@pytest.mark.parametrize("selected", [[1], [UUID_1]])
def test_only_selected_devices_are_watched(
    expose: Expose, driver: FakeDriver, selected: list[int | str], other_is_lost: int
) -> None:
    driver.update({"0.lost": other_is_lost})
    exposer = expose(selected_devices=selected)
    exposer.until(lambda: exposer.series(gpu="1"), bool)
    assert exposer.series(gpu="0") == {}
    assert exposer.ask("healthy") == [True, ""]


@pytest.mark.parametrize("missing", [5, "GPU-gone"])
def test_a_selected_device_that_is_not_there_is_down(expose: Expose, missing: int | str) -> None:
    exposer = expose(selected_devices=[0, missing])
    exposer.wait_for(gpu_up=1)
    label = {"gpu": "5"} if missing == 5 else {"uuid": "GPU-gone"}
    assert list(exposer.series(**label).values()) == [0]
    healthy, reason = exposer.ask("healthy")
    assert not healthy
    assert str(missing) in reason
    assert "the driver does not list it" in reason


@pytest.mark.parametrize("selected", [[], ["MIG-00000000-0000-0000-0003-000000000000"]])
def test_a_selection_that_cannot_be_meant_is_refused(selected: list[str]) -> None:
    with pytest.raises(ValueError, match="selected_devices: "):
        GpuTelemetry(selected_devices=selected)
