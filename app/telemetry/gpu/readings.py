"""What to ask NVML of a device, and in which unit the answer comes: every value leaves in base units.

Units and meanings are those of NVIDIA's NVML API reference, "Device Queries". Importing this module imports
`pynvml` (nvidia-ml-py), which is why the sampling thread does it and nobody else.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import pynvml

from app.telemetry.gpu.status import Sample

Handle = Any
Reader = Callable[[Handle], Sequence[Sample]]

UNIT, MILLI, MEGA = Fraction(1), Fraction(1, 1_000), Fraction(1_000_000)

# This device, driver or container will not answer the question, however often it is asked.
UNSUPPORTED = frozenset(
    {
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.NVML_ERROR_NO_PERMISSION,
        pynvml.NVML_ERROR_INVALID_ARGUMENT,
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
        pynvml.NVML_ERROR_VGPU_ECC_NOT_SUPPORTED,
        pynvml.NVML_ERROR_DEPRECATED,
    }
)

# The names that nvidia-smi gives to the bits of NVML's clocks event reasons.
CLOCKS_EVENT_REASONS = {
    "gpu_idle": pynvml.nvmlClocksEventReasonGpuIdle,
    "applications_clocks_setting": pynvml.nvmlClocksEventReasonApplicationsClocksSetting,
    "sw_power_cap": pynvml.nvmlClocksEventReasonSwPowerCap,
    "hw_slowdown": pynvml.nvmlClocksEventReasonHwSlowdown,
    "sync_boost": pynvml.nvmlClocksEventReasonSyncBoost,
    "sw_thermal_slowdown": pynvml.nvmlClocksEventReasonSwThermalSlowdown,
    "hw_thermal_slowdown": pynvml.nvmlClocksEventReasonHwThermalSlowdown,
    "hw_power_brake_slowdown": pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown,
    "display_clock_setting": pynvml.nvmlClocksEventReasonDisplayClockSetting,
}


class Question:
    """One thing to know of a device, with the ways to ask for it, newest first.

    A way that the device does not support is forgotten, so that it costs one call and not one in each sample.
    """

    def __init__(self, *ways: Reader) -> None:
        self._ways = list(ways)

    def ask(self, handle: Handle) -> Sequence[Sample]:
        """The answer, empty if no way is supported.

        Raises:
            pynvml.NVMLError: the question is supported, yet was not answered this time.
        """
        while self._ways:
            try:
                return self._ways[0](handle)
            except pynvml.NVMLError as error:
                if error.value not in UNSUPPORTED:
                    raise
                del self._ways[0]
        return ()


class PcieBytes:
    """PCIe bytes since the first sample, as a counter that outlives the hardware's 32 bits.

    NVML's field wraps; Prometheus would take that for a reset and lose what was counted up to the wrap. The
    other source, nvmlDeviceGetPcieThroughput, is a rate over 20 ms that blocks as long: it makes no counter.
    """

    _FIELDS = (
        (pynvml.NVML_FI_DEV_PCIE_COUNT_TX_BYTES, "transmit"),
        (pynvml.NVML_FI_DEV_PCIE_COUNT_RX_BYTES, "receive"),
    )

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._total: dict[str, int] = {}
        self._new_session = True

    def begin_session(self) -> None:
        """Take a lower reading, once, for a count from zero after a reset, and not for a wrap."""
        self._new_session = True

    def read(self, handle: Handle) -> list[Sample]:
        """The totals of the directions that the device counts."""
        fields = pynvml.nvmlDeviceGetFieldValues(handle, [field for field, _ in self._FIELDS])
        samples = []
        for field, (_, direction) in zip(fields, self._FIELDS, strict=True):
            if field.nvmlReturn == pynvml.NVML_SUCCESS:
                narrow = field.valueType == pynvml.NVML_VALUE_TYPE_UNSIGNED_INT
                now = field.value.uiVal if narrow else field.value.ullVal
                passed = now - self._last.get(direction, now)
                if passed < 0:
                    passed = now if self._new_session else passed % 2**32
                self._total[direction] = self._total.get(direction, 0) + passed
                self._last[direction] = now
                samples.append(Sample("gpu_pcie_bytes_total", self._total[direction], direction))
        self._new_session = False
        if not samples:
            raise pynvml.NVMLError(fields[0].nvmlReturn)
        return samples


def questions(pcie_bytes: PcieBytes) -> list[Question]:
    """Everything to ask of a GPU."""
    die = pynvml.NVML_TEMPERATURE_GPU
    clock, sm, device_memory = pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_MEM
    ecc, since_load = pynvml.nvmlDeviceGetTotalEccErrors, pynvml.NVML_VOLATILE_ECC
    corrected = pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED
    uncorrected = pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED
    return [
        Question(_utilization),
        memory(),
        Question(
            _value("gpu_temperature_celsius", UNIT, pynvml.nvmlDeviceGetTemperatureV, die),
            _value("gpu_temperature_celsius", UNIT, pynvml.nvmlDeviceGetTemperature, die),
        ),
        Question(_value("gpu_power_watts", MILLI, pynvml.nvmlDeviceGetPowerUsage)),
        Question(_value("gpu_power_limit_watts", MILLI, pynvml.nvmlDeviceGetEnforcedPowerLimit)),
        Question(_value("gpu_energy_joules_total", MILLI, pynvml.nvmlDeviceGetTotalEnergyConsumption)),
        Question(_value("gpu_sm_clock_hertz", MEGA, clock, sm)),
        Question(_value("gpu_memory_clock_hertz", MEGA, clock, device_memory)),
        Question(_clocks_event_reasons, _clocks_throttle_reasons),
        Question(_value("gpu_ecc_errors_total", UNIT, ecc, corrected, since_load, label="corrected")),
        Question(_value("gpu_ecc_errors_total", UNIT, ecc, uncorrected, since_load, label="uncorrected")),
        Question(_remapped_rows),
        Question(pcie_bytes.read),
        Question(_value("gpu_pcie_replays_total", UNIT, pynvml.nvmlDeviceGetPcieReplayCounter)),
    ]


def memory() -> Question:
    """Memory used and installed: all that NVML tells of a MIG instance too."""
    return Question(
        lambda gpu: _memory(pynvml.nvmlDeviceGetMemoryInfo(gpu, pynvml.nvmlMemory_v2)),
        lambda gpu: _memory(pynvml.nvmlDeviceGetMemoryInfo(gpu)),
    )


def _value(metric: str, unit: Fraction, call: Callable[..., int], *arguments: int, label: str = "") -> Reader:
    return lambda gpu: [Sample(metric, float(call(gpu, *arguments) * unit), label)]


def _utilization(gpu: Handle) -> list[Sample]:
    percent = pynvml.nvmlDeviceGetUtilizationRates(gpu)
    return [
        Sample("gpu_utilization_ratio", percent.gpu / 100),
        Sample("gpu_memory_utilization_ratio", percent.memory / 100),
    ]


def _memory(info: Any) -> list[Sample]:
    return [Sample("gpu_memory_used_bytes", info.used), Sample("gpu_memory_total_bytes", info.total)]


def _clocks_event_reasons(gpu: Handle) -> list[Sample]:
    return _reasons(
        pynvml.nvmlDeviceGetSupportedClocksEventReasons(gpu),
        pynvml.nvmlDeviceGetCurrentClocksEventReasons(gpu),
    )


def _clocks_throttle_reasons(gpu: Handle) -> list[Sample]:
    """The same bits under the name that they had before driver 535."""
    return _reasons(
        pynvml.nvmlDeviceGetSupportedClocksThrottleReasons(gpu),
        pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu),
    )


def _reasons(supported: int, current: int) -> list[Sample]:
    return [
        Sample("gpu_clocks_event_reason", float(bool(current & bit)), reason)
        for reason, bit in CLOCKS_EVENT_REASONS.items()
        if supported & bit
    ]


def _remapped_rows(gpu: Handle) -> list[Sample]:
    kinds = ("corrected", "uncorrected", "pending", "failed")
    counts = pynvml.nvmlDeviceGetRemappedRows(gpu)
    return [Sample("gpu_remapped_rows", count, kind) for kind, count in zip(kinds, counts, strict=True)]
