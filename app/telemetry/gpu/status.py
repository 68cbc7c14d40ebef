"""What is known of the GPUs at one moment, as plain values for the metrics, the console and the doctor."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

XID_METRIC = "gpu_xid_errors_total"


class GpuState(StrEnum):
    """How the driver as a whole is doing; each device's own state is in its `DeviceStatus`."""

    STARTING = "starting"
    READY = "ready"
    NO_DEVICE = "no_device"
    LIBRARY_MISSING = "library_missing"
    DRIVER_NOT_LOADED = "driver_not_loaded"
    VERSION_MISMATCH = "version_mismatch"
    NOT_RESPONDING = "not_responding"
    FAILED = "failed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Sample:
    """One value in base units, under its metric's name; `label` is the value of the metric's own label."""

    metric: str
    value: float
    label: str = ""


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """One GPU or MIG instance. `lost` means that it fell off the bus or awaits a reset: it cannot compute."""

    gpu: str
    uuid: str
    name: str
    up: bool = False
    lost: bool = False
    reason: str = ""
    samples: tuple[Sample, ...] = ()

    def down(self, reason: str, *, lost: bool = False) -> Self:
        """The same device without its readings, which are history now; its XID counts stay true."""
        kept = tuple(sample for sample in self.samples if sample.metric == XID_METRIC)
        return replace(self, up=False, lost=self.lost or lost, reason=reason, samples=kept)


@dataclass(frozen=True, slots=True)
class GpuStatus:
    """All devices, and why there is none or none answers. `last_success` is in seconds since the epoch."""

    state: GpuState
    reason: str = ""
    devices: tuple[DeviceStatus, ...] = ()
    driver_version: str = ""
    last_success: float | None = None

    def down(self, state: GpuState, reason: str) -> Self:
        """The same devices, none of them up."""
        return replace(
            self, state=state, reason=reason, devices=tuple(device.down(reason) for device in self.devices)
        )


class DriverUnavailableError(Exception):
    """The driver as a whole does not serve us; `state` says which way, the message what to do."""

    def __init__(self, state: GpuState, reason: str) -> None:
        super().__init__(reason)
        self.state = state
