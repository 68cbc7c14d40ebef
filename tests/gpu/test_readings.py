"""What is exposed of a GPU that answers: right values in base units, and nothing that it does not support."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.fake_nvml import FakeDriver
from tests.gpu.conftest import Exposer

Expose = Callable[..., Exposer]

NOT_SUPPORTED, UNKNOWN = 3, 999

HEALTHY = {
    "gpu_up": 1,
    "gpu_utilization_ratio": 0.37,
    "gpu_memory_utilization_ratio": 0.21,
    "gpu_memory_total_bytes": 80 * 2**30,
    "gpu_memory_used_bytes": 3 * 2**30 + 4096,
    "gpu_temperature_celsius": 54,
    "gpu_power_watts": 312.345,
    "gpu_power_limit_watts": 700,
    "gpu_energy_joules_total": 9_876_543.21,
    "gpu_sm_clock_hertz": 1.410e9,
    "gpu_memory_clock_hertz": 2.619e9,
    "gpu_clocks_event_reason{gpu_idle}": 0,
    "gpu_clocks_event_reason{applications_clocks_setting}": 0,
    "gpu_clocks_event_reason{sw_power_cap}": 1,
    "gpu_clocks_event_reason{hw_slowdown}": 0,
    "gpu_clocks_event_reason{sw_thermal_slowdown}": 1,
    "gpu_clocks_event_reason{hw_thermal_slowdown}": 0,
    "gpu_clocks_event_reason{hw_power_brake_slowdown}": 0,
    "gpu_clocks_event_reason{display_clock_setting}": 0,
    "gpu_ecc_errors_total{corrected}": 11,
    "gpu_ecc_errors_total{uncorrected}": 2,
    "gpu_remapped_rows{corrected}": 5,
    "gpu_remapped_rows{uncorrected}": 1,
    "gpu_remapped_rows{pending}": 1,
    "gpu_remapped_rows{failed}": 0,
    "gpu_pcie_bytes_total{transmit}": 0,
    "gpu_pcie_bytes_total{receive}": 0,
    "gpu_pcie_replays_total": 7,
}


def without_xids(series: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in series.items() if not name.startswith("gpu_xid")}


def test_every_value_is_the_drivers_own_in_base_units(expose: Expose) -> None:
    exposer = expose()
    assert without_xids(exposer.wait_for(gpu_up=1)) == HEALTHY
    other = exposer.series(gpu="1", uuid="GPU-00000000-0000-0000-0000-000000000001", device_name="Fake H100")
    assert other["gpu_temperature_celsius"] == 55
    assert other["gpu_power_watts"] == 312.346
    assert other["gpu_pcie_replays_total"] == 8
    assert exposer.ask("healthy") == [True, ""]
    assert exposer.ask("status")["driver_version"] == "999.0"


def test_an_old_driver_is_asked_in_the_old_way(
    expose: Expose, libraries: dict[str, Path], driver: FakeDriver
) -> None:
    series = expose({**driver.environ, "LD_LIBRARY_PATH": str(libraries["old"])}).wait_for(gpu_up=1)
    with_reserve = HEALTHY["gpu_memory_used_bytes"] + 500 * 2**20
    assert without_xids(series) == HEALTHY | {"gpu_memory_used_bytes": with_reserve}


@pytest.mark.parametrize(
    ("functions", "absent"),
    [
        ("nvmlDeviceGetUtilizationRates", {"gpu_utilization_ratio", "gpu_memory_utilization_ratio"}),
        (
            "nvmlDeviceGetMemoryInfo_v2 nvmlDeviceGetMemoryInfo",
            {"gpu_memory_used_bytes", "gpu_memory_total_bytes"},
        ),
        ("nvmlDeviceGetTemperatureV nvmlDeviceGetTemperature", {"gpu_temperature_celsius"}),
        ("nvmlDeviceGetPowerUsage", {"gpu_power_watts"}),
        ("nvmlDeviceGetEnforcedPowerLimit", {"gpu_power_limit_watts"}),
        ("nvmlDeviceGetTotalEnergyConsumption", {"gpu_energy_joules_total"}),
        ("nvmlDeviceGetClockInfo", {"gpu_sm_clock_hertz", "gpu_memory_clock_hertz"}),
        ("nvmlDeviceGetSupportedClocksEventReasons", {"gpu_clocks_event_reason"}),
        ("nvmlDeviceGetTotalEccErrors", {"gpu_ecc_errors_total"}),
        ("nvmlDeviceGetRemappedRows", {"gpu_remapped_rows"}),
        ("nvmlDeviceGetFieldValues", {"gpu_pcie_bytes_total"}),
        ("field.197 field.198", {"gpu_pcie_bytes_total"}),
        ("nvmlDeviceGetPcieReplayCounter", {"gpu_pcie_replays_total"}),
        ("nvmlDeviceGetSupportedEventTypes", {"gpu_xid_errors_total"}),
        ("nvmlDeviceRegisterEvents", {"gpu_xid_errors_total"}),
        ("nvmlDeviceGetMigMode", set()),
    ],
)
def test_what_a_device_does_not_support_is_absent(
    expose: Expose, driver: FakeDriver, functions: str, absent: set[str]
) -> None:
    driver.update({f"0.error.{function}": NOT_SUPPORTED for function in functions.split()})
    exposer = expose()
    names = {name.partition("{")[0] for name in exposer.wait_for(gpu_up=1)}
    other = {name.partition("{")[0] for name in exposer.series(gpu="1")}
    assert names == other - absent
    assert absent <= other


def test_a_device_whose_events_tell_no_xids_has_no_xid_series(expose: Expose, driver: FakeDriver) -> None:
    driver.update({"0.event_types": 1})
    assert not [name for name in expose().wait_for(gpu_up=1) if name.startswith("gpu_xid")]


def test_one_of_two_pcie_directions_may_be_unsupported(expose: Expose, driver: FakeDriver) -> None:
    driver.update({"0.error.field.198": NOT_SUPPORTED})
    series = expose().wait_for(gpu_up=1)
    assert "gpu_pcie_bytes_total{transmit}" in series
    assert "gpu_pcie_bytes_total{receive}" not in series


def test_an_unsupported_question_is_asked_once(expose: Expose, driver: FakeDriver) -> None:
    driver.update({"count": 1, "0.error.nvmlDeviceGetPowerUsage": NOT_SUPPORTED})
    exposer = expose()
    exposer.until(driver.calls, lambda calls: calls["nvmlDeviceGetRemappedRows"] >= 5)
    assert driver.calls()["nvmlDeviceGetPowerUsage"] == 1


def test_a_passing_error_leaves_out_one_value_for_one_sample(expose: Expose, driver: FakeDriver) -> None:
    driver.update({"0.error.nvmlDeviceGetPowerUsage": UNKNOWN})
    exposer = expose()
    assert "gpu_power_watts" not in exposer.wait_for(gpu_up=1)
    driver.update({"0.error.nvmlDeviceGetPowerUsage": 0})
    exposer.wait_for(gpu_power_watts=312.345, gpu_up=1)


def test_a_device_that_answers_nothing_is_not_up(expose: Expose, driver: FakeDriver) -> None:
    exposer = expose()
    exposer.wait_for(gpu_up=1)
    names = {name for name in driver.calls() if name.startswith("nvmlDeviceGet")}
    driver.update({f"0.error.{name}": UNKNOWN for name in names})
    series = exposer.wait_for(gpu_up=0)
    assert set(without_xids(series)) == {"gpu_up"}
    assert exposer.series(gpu="1")["gpu_up"] == 1
    exposer.until(
        lambda: exposer.ask("healthy")[0], lambda healthy: not healthy
    )  # no handle either: it is lost
    driver.update({f"0.error.{name}": 0 for name in names})
    exposer.wait_for(gpu_up=1)


def test_counters_follow_the_driver(expose: Expose, driver: FakeDriver) -> None:
    exposer = expose()
    exposer.wait_for(gpu_up=1)
    driver.update({"0.energy_millijoules": 9_876_544_210, "0.ecc_corrected": 12, "0.ecc_uncorrected": 4})
    series = exposer.wait_for(gpu_energy_joules_total=9_876_544.21)
    assert series["gpu_ecc_errors_total{corrected}"] == 12
    assert series["gpu_ecc_errors_total{uncorrected}"] == 4


def test_pcie_bytes_go_on_where_the_hardware_counter_wraps(expose: Expose, driver: FakeDriver) -> None:
    driver.update({"0.pcie_receive": 2**32 - 1_000})
    exposer = expose()
    exposer.wait_for(**{"gpu_pcie_bytes_total{receive}": 0})
    driver.update({"0.pcie_receive": 500})
    exposer.wait_for(**{"gpu_pcie_bytes_total{receive}": 1_500})
    driver.update({"0.pcie_receive": 3_000_000_500})
    exposer.wait_for(**{"gpu_pcie_bytes_total{receive}": 3_000_001_500})


def test_xid_errors_are_counted_from_a_zero_that_was_exposed(expose: Expose, driver: FakeDriver) -> None:
    exposer = expose()
    before = exposer.wait_for(gpu_up=1)
    assert {name: value for name, value in before.items() if name.startswith("gpu_xid") and value} == {}
    driver.report_xid(0, 79, 31, 31, 777)
    driver.report_xid(1, 48)
    after = exposer.wait_for(**{"gpu_xid_errors_total{79}": 1, "gpu_xid_errors_total{other}": 1})
    assert after["gpu_xid_errors_total{31}"] == 2
    assert after["gpu_xid_errors_total{48}"] == 0
    assert before.keys() == after.keys()
    assert exposer.series(gpu="1")["gpu_xid_errors_total{48}"] == 1
    logged = [line for line in exposer.ask("logs") if line["event"] == "gpu_xid_error"]
    assert [(line["gpu"], line["xid"], line["times"]) for line in logged] == [
        ("0", 79, 1),
        ("0", 31, 2),
        ("0", 777, 1),
        ("1", 48, 1),
    ]


def test_mig_instances_have_their_memory_and_their_parent_has_the_rest(
    expose: Expose, driver: FakeDriver
) -> None:
    instance = {"0:3.instance": 1, "0:3.memory_total": 10 * 2**30, "0:3.memory_used": 2**30}
    driver.update({"0.mig": 1, **instance, "0.error.nvmlDeviceGetUtilizationRates": NOT_SUPPORTED})
    exposer = expose()
    exposer.wait_for(gpu_up=1, gpu_power_watts=312.345)
    expected = {"gpu_up": 1, "gpu_memory_total_bytes": 10 * 2**30, "gpu_memory_used_bytes": 2**30}
    uuid = "MIG-00000000-0000-0000-0003-000000000000"
    assert exposer.series(gpu="0:3", uuid=uuid, device_name="Fake H100 MIG 1g.10gb") == expected
    assert exposer.series(gpu="0:0") == exposer.series(gpu="1:0") == {}

    driver.update({"0:3.instance": 0, "0:0.instance": 1})
    exposer.until(lambda: exposer.series(gpu="0:0"), bool)
    assert exposer.series(gpu="0:3") == {}
    assert exposer.ask("healthy") == [True, ""]


def test_series_are_bounded(expose: Expose, driver: FakeDriver) -> None:
    driver.update({"0.mig": 1, "0.reasons_supported": -1, **{f"0:{index}.instance": 1 for index in range(9)}})
    exposer = expose()
    driver.report_xid(0, *range(200))
    exposer.until(lambda: exposer.series(gpu="0"), lambda series: series.get("gpu_xid_errors_total{other}"))
    assert len(exposer.series(gpu="0")) == 50
    assert len(exposer.series()) == 50 + 7 * 3 + 49 + 1


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Prometheus")
def test_promtool_has_nothing_to_say(expose: Expose) -> None:
    exposer = expose()
    exposer.wait_for(gpu_up=1)
    command = ["promtool", "check", "metrics"]
    lint = subprocess.run(command, input=exposer.ask("metrics"), capture_output=True, text=True, check=False)
    assert (lint.returncode, lint.stdout + lint.stderr) == (0, "")


def test_the_openmetrics_format_has_the_same_families(expose: Expose) -> None:
    exposer = expose()
    exposer.wait_for(gpu_up=1)
    exposition = exposer.ask("openmetrics")
    parsed = text_string_to_metric_families(exposition)  # type: ignore[no-untyped-call]
    families = {family.name: family for family in parsed}
    assert families["gpu_energy_joules"].type == "counter"
    assert families["gpu_up"].type == "gauge"
    assert len(families) == 18
