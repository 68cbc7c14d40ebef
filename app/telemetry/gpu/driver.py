"""A session with the NVIDIA driver through NVML. Every call may block for as long as the driver pleases."""

from collections import Counter
from contextlib import suppress

import pynvml
import structlog

from app.telemetry.gpu.device import GONE, Device
from app.telemetry.gpu.readings import Handle
from app.telemetry.gpu.status import DeviceStatus, DriverUnavailableError, GpuState

log = structlog.get_logger(__name__)

MAX_EVENTS_A_SAMPLE = 256

REMEDIES = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: (
        GpuState.LIBRARY_MISSING,
        "libnvidia-ml.so.1 was not found: this machine has no NVIDIA driver, or the container lacks"
        " NVIDIA_DRIVER_CAPABILITIES=utility",
    ),
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: (
        GpuState.DRIVER_NOT_LOADED,
        "the NVIDIA kernel driver is not loaded, or the container was given no GPU device",
    ),
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
        GpuState.VERSION_MISMATCH,
        "libnvidia-ml.so.1 and the kernel driver are of different versions: reload the driver or reboot the"
        " node, then restart this container",
    ),
}


class Driver:
    """Finds the devices and reads them; remembers those it has found, over as many sessions as it takes.

    `selected` names the devices to watch by NVML index or UUID (`GPU-…`); None is all that NVML lets us see.
    """

    def __init__(self, selected: frozenset[int | str] | None) -> None:
        self.version = ""
        self.busy_with = "nvmlInit"  # what a caller can name while a call hangs
        self.is_open = False
        self._selected = selected
        self._devices: dict[str, Device] = {}
        self._events: Handle = None
        self._events_broken = False

    @property
    def needs_reopening(self) -> bool:
        """Whether only a new session can bring back what is missing."""
        all_up = all(device.up for device in self._devices.values())
        return not self.is_open or self._events_broken or not all_up

    def reopen(self) -> None:
        """Start a session and find the devices.

        Raises:
            DriverUnavailableError: no session, or one without any device; says why and what to do.
        """
        if self.is_open:
            self._count_xids()  # a lost device's last words
        self.close()
        self.busy_with = "nvmlInit"
        try:
            pynvml.nvmlInit()
            self.is_open = True
            with suppress(pynvml.NVMLError_NotSupported):
                self.version = pynvml.nvmlSystemGetDriverVersion()
            self._discover()
            self._watch_xids()
        except pynvml.NVMLError as error:
            self.close()
            raise _unavailable(error) from error
        if not self._devices:
            self.close()
            raise DriverUnavailableError(GpuState.NO_DEVICE, "the driver lists no GPU for this process")

    def sample(self) -> tuple[DeviceStatus, ...]:
        """Read every device.

        Raises:
            DriverUnavailableError: the driver is gone, and the session with it.
        """
        statuses: list[DeviceStatus] = []
        try:
            self._count_xids()
            for device in self._devices.values():
                self.busy_with = f"GPU {device.gpu}"
                statuses += device.sample()
        except pynvml.NVMLError as error:
            self.close()
            raise _unavailable(error) from error
        return tuple(statuses)

    def close(self) -> None:
        """End the session, if there is one. The devices stay known."""
        if not self.is_open:
            return
        self.is_open = False
        self.busy_with = "nvmlShutdown"
        events, self._events = self._events, None
        with suppress(pynvml.NVMLError):
            if events is not None:
                pynvml.nvmlEventSetFree(events)
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()

    def _discover(self) -> None:
        found: set[str] = set()
        unreadable: dict[str, str] = {}
        for index in range(pynvml.nvmlDeviceGetCount()):
            self.busy_with = f"GPU {index}"
            try:
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                uuid, name = pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle)
            except pynvml.NVMLError_NoPermission:
                continue  # NVML counts the node's GPUs, also those that were not given to this container
            except pynvml.NVMLError as error:
                if error.value in GONE:
                    raise
                unreadable[str(index)] = str(error)
                continue
            if self._selected is None or self._selected & {index, uuid}:
                self._devices.pop(str(index), None)
                self._devices.setdefault(uuid, Device(str(index), uuid)).attach(str(index), name, handle)
                found.add(uuid)

        expected = set(unreadable) if self._selected is None else set(map(str, self._selected))
        known = {device.gpu for device in self._devices.values()} | set(self._devices)
        for key in sorted(expected - known):
            self._devices[key] = Device(key, "") if key.isdigit() else Device("", key)
        for key, device in self._devices.items():
            if key not in found:
                device.lose(unreadable.get(device.gpu, "the driver does not list it"))

    def _watch_xids(self) -> None:
        self._events_broken = False
        with suppress(pynvml.NVMLError):  # without events there are no XID series
            self._events = pynvml.nvmlEventSetCreate()
            for device in self._devices.values():
                if not device.lost:
                    with suppress(pynvml.NVMLError):
                        device.watch_xids(self._events)

    def _count_xids(self) -> None:
        if self._events is None:
            return
        self.busy_with = "events"
        seen: Counter[tuple[Device, int]] = Counter()
        for _ in range(MAX_EVENTS_A_SAMPLE):
            try:
                event = pynvml.nvmlEventSetWait_v2(self._events, 1)
            except pynvml.NVMLError_Timeout:
                break
            except pynvml.NVMLError:
                self._events_broken = True  # a lost device can take the set with it
                break
            if event.eventType & pynvml.nvmlEventTypeXidCriticalError:
                for device in self._devices.values():
                    if device.is_at(event.device):
                        seen[device, event.eventData] += 1
        for (device, xid), times in seen.items():
            device.count_xid(xid, times)


def _unavailable(error: pynvml.NVMLError) -> DriverUnavailableError:
    return DriverUnavailableError(*REMEDIES.get(error.value, (GpuState.FAILED, f"NVML says: {error}")))
