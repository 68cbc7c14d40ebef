"""One GPU as this process watches it: remembered while it is lost, so that its series stay."""

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pynvml
import structlog

from app.telemetry.gpu.readings import UNSUPPORTED, Handle, PcieBytes, Question, memory, questions
from app.telemetry.gpu.status import XID_METRIC, DeviceStatus, Sample

log = structlog.get_logger(__name__)

# The device is off the bus or unusable until reset; the driver goes on serving the others.
LOST = frozenset(
    {pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED, pynvml.NVML_ERROR_GPU_NOT_FOUND}
)
# The driver serves no device any more.
GONE = frozenset(
    {
        pynvml.NVML_ERROR_UNINITIALIZED,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
    }
)

# Codes of NVIDIA's XID catalog that have a series of their own, at zero from the start: `increase()` does not
# see a counter that is born at 1. The others count as "other", which also bounds the series.
XIDS = (13, 31, 43, 45, 48, 61, 62, 63, 64, 74, 79, 92, 94, 95, 109, 119, 120, 140, 143, 154)


class Device:
    """A GPU under its UUID; without one (it was lost before it was ever read) under its index."""

    def __init__(self, gpu: str, uuid: str) -> None:
        self._handle: Handle = None
        self._address: int | None = None
        self._questions: list[Question] = []
        self._has_mig = True
        self._pcie_bytes = PcieBytes()
        self._xids: dict[str, int] = {}
        self._statuses: tuple[DeviceStatus, ...] = (DeviceStatus(gpu, uuid, ""),)

    @property
    def gpu(self) -> str:
        """NVML's index when last seen."""
        return self._statuses[0].gpu

    @property
    def lost(self) -> bool:
        """Whether there is no handle to read it by."""
        return self._handle is None

    @property
    def up(self) -> bool:
        """Whether it answered in the last sample."""
        return self._statuses[0].up

    def is_at(self, handle: Handle) -> bool:
        """Whether `handle`, from an event, is this device's or, if it is lost, was."""
        return self._address is not None and _address(handle) == self._address

    def attach(self, gpu: str, name: str, handle: Handle) -> None:
        """Take the handle of a new session and ask everything again: a reset may have changed what works."""
        self._statuses = (replace(self._statuses[0], gpu=gpu, name=name),)
        self._handle, self._address = handle, _address(handle)
        self._pcie_bytes.begin_session()
        self._questions = questions(self._pcie_bytes)
        self._has_mig = True

    def lose(self, reason: str) -> None:
        """Give the handle up. The device and its MIG instances stay, not up."""
        self._handle = None
        if not self._statuses[0].lost:
            log.error("gpu_lost", gpu=self.gpu, uuid=self._statuses[0].uuid, reason=reason)
        self._statuses = tuple(status.down(reason, lost=True) for status in self._statuses)

    def watch_xids(self, events: Handle) -> None:
        """Have XID errors delivered to the event set, where the device can; count them from zero."""
        supported = pynvml.nvmlDeviceGetSupportedEventTypes(self._handle)
        if supported & pynvml.nvmlEventTypeXidCriticalError:
            pynvml.nvmlDeviceRegisterEvents(self._handle, pynvml.nvmlEventTypeXidCriticalError, events)
            self._xids = self._xids or dict.fromkeys([*map(str, XIDS), "other"], 0)

    def count_xid(self, xid: int, times: int) -> None:
        """Add XID errors that the driver delivered."""
        self._xids[str(xid) if xid in XIDS else "other"] += times
        log.error("gpu_xid_error", gpu=self.gpu, uuid=self._statuses[0].uuid, xid=xid, times=times)

    def sample(self) -> tuple[DeviceStatus, ...]:
        """The device and after it its MIG instances, read now.

        Raises:
            pynvml.NVMLError: the driver as a whole is gone. A device that is lost is a status, not an error.
        """
        if not self.lost:
            try:
                before = self._statuses[0]
                self._statuses = (_read(before, self._handle, self._questions), *self._mig_instances())
                if before.lost:
                    log.info("gpu_recovered", gpu=self.gpu, uuid=before.uuid)
            except pynvml.NVMLError as error:
                if error.value not in LOST:
                    raise
                self.lose(str(error))
        device = self._statuses[0]
        readings = tuple(sample for sample in device.samples if sample.metric != XID_METRIC)
        xids = tuple(Sample(XID_METRIC, count, xid) for xid, count in self._xids.items())
        self._statuses = (replace(device, samples=readings + xids), *self._statuses[1:])
        return self._statuses

    def _mig_instances(self) -> Iterator[DeviceStatus]:
        """The MIG instances of now: they come and go without a word from the driver."""
        for index in range(self._mig_slots()):
            try:
                handle = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(self._handle, index)
                uuid, name = pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle)
            except pynvml.NVMLError as error:
                if error.value in LOST | GONE:
                    raise
                continue  # no instance at this index, or none that this container may see
            yield _read(DeviceStatus(f"{self.gpu}:{index}", uuid, name), handle, [memory()])

    def _mig_slots(self) -> int:
        """How many MIG instances there can be: 0 while MIG is off."""
        if not self._has_mig:
            return 0
        try:
            mode, _ = pynvml.nvmlDeviceGetMigMode(self._handle)
            return pynvml.nvmlDeviceGetMaxMigDeviceCount(self._handle) if mode else 0
        except pynvml.NVMLError as error:
            if error.value in LOST | GONE:
                raise
            self._has_mig = error.value not in UNSUPPORTED
            return 0


def _read(status: DeviceStatus, handle: Handle, to_ask: Sequence[Question]) -> DeviceStatus:
    """One question that fails leaves its answer out; the device is up unless all that it supports fails."""
    samples: list[Sample] = []
    trouble = ""
    for question in to_ask:
        try:
            samples += question.ask(handle)
        except pynvml.NVMLError as error:
            if error.value in LOST | GONE:
                raise
            trouble = str(error)
    up = bool(samples) or not trouble
    return replace(status, up=up, lost=False, reason="" if up else trouble, samples=tuple(samples))


def _address(handle: Handle) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value
