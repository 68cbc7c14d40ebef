"""The sampling thread, and what everyone else sees of it: the last sample, or that the driver hangs.

One thread makes every NVML call. A call that hangs therefore stops the sampling and nothing else: readers see
by the clock that the sample under way is past its deadline, no further thread is started, and once the call
returns the sample is published as if nothing had been.
"""

import threading
import time
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import structlog
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from app.telemetry.gpu.metrics import declarations, families
from app.telemetry.gpu.status import DriverUnavailableError, GpuState, GpuStatus

if TYPE_CHECKING:
    from app.telemetry.gpu.driver import Driver

log = structlog.get_logger(__name__)

RETRY_DOUBLINGS = 3  # a driver or a lost device is tried again after 1, 2, 4, then every 8 intervals
ORDINARY = {GpuState.READY, GpuState.LIBRARY_MISSING, GpuState.NO_DEVICE}  # most machines have no GPU


class GpuTelemetry(Collector):
    """GPU metrics for a Prometheus registry, and the state of the GPUs for readiness, console and doctor.

    Args:
        interval: seconds between two samples.
        deadline: seconds after which a sample under way counts as hanging; also how long `close` may take.
        selected_devices: the devices to watch, each by NVML index or UUID (`GPU-…`); None is all that NVML
            lets this process see. CUDA_VISIBLE_DEVICES is not read: NVML ignores it, and its indices follow
            CUDA's order (fastest first), not NVML's. Pass the UUID of the device that torch computes on.

    Raises:
        ValueError: `selected_devices` is empty or names a MIG instance, which comes with its parent GPU.
    """

    def __init__(
        self,
        interval: float = 5.0,
        deadline: float = 2.0,
        selected_devices: Collection[int | str] | None = None,
    ) -> None:
        if selected_devices is not None:
            if not selected_devices:
                raise ValueError("selected_devices: is empty; name a GPU, or pass None for all of them")
            if any(str(device).startswith("MIG-") for device in selected_devices):
                raise ValueError("selected_devices: names a MIG instance; name its parent GPU, or pass None")
        self._interval = interval
        self._deadline = deadline
        self._selected = None if selected_devices is None else frozenset(selected_devices)
        self._driver: Driver | None = None
        self._status = GpuStatus(GpuState.STARTING)
        self._sampling: tuple[Driver, float] | None = None  # since when (monotonic) a sample is under way
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpu-telemetry", daemon=True)
        self._attempts = 0
        self._retry_at = 0.0
        self._noted = GpuState.STARTING
        self._noting = threading.Lock()

    def start(self) -> None:
        """Begin to sample. Returns at once; a driver that is missing is a status, not an error."""
        self._thread.start()

    def close(self) -> None:
        """Stop sampling, within the deadline: a thread that hangs in the driver is left behind."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(self._deadline)
        self._status = GpuStatus(GpuState.CLOSED)

    def status(self) -> GpuStatus:
        """The last sample; every device down while the driver hangs. Never calls the driver."""
        sampling, status = self._sampling, self._status
        if sampling is None or status.state is GpuState.CLOSED:
            return status
        driver, since = sampling
        waited = time.monotonic() - since
        if waited <= self._deadline:
            return status
        reason = f"the driver has not answered for {waited:.0f} s (at {driver.busy_with})"
        hanging = status.down(GpuState.NOT_RESPONDING, reason)
        self._note(hanging)
        return hanging

    def healthy(self) -> tuple[bool, str]:
        """Whether the GPUs allow readiness, and if not, why: false only while a watched GPU is lost.

        No driver, or one that hangs, is not enough: CUDA can compute without NVML answering, and the canary
        forward tells whether it does.
        """
        lost = [device for device in self.status().devices if device.lost]
        return not lost, "; ".join(
            f"GPU {device.gpu or '?'} ({device.uuid or 'UUID unknown'}) is lost: {device.reason}"
            for device in lost
        )

    def describe(self) -> Iterable[Metric]:
        """The names, for the registry's check of duplicates."""
        return declarations()

    def collect(self) -> Iterable[Metric]:
        """The last sample as metric families."""
        return families(self.status())

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._driver is None:
                    # Not at the top: a broken nvidia-ml-py is a status, and it loads beside the model.
                    from app.telemetry.gpu.driver import Driver

                    self._driver = Driver(self._selected)
                self._sampling = self._driver, time.monotonic()
                self._sample(self._driver)
            except DriverUnavailableError as error:
                self._publish(self._status.down(error.state, str(error)))
            except ImportError as error:
                reason = f"nvidia-ml-py is not installed, or broken: {error}"
                self._publish(self._status.down(GpuState.LIBRARY_MISSING, reason))
            except Exception as error:  # noqa: BLE001 - telemetry may fail, the service must not; tried again
                self._publish(self._status.down(GpuState.FAILED, f"{type(error).__name__}: {error}"))
            self._sampling = None
            self._stopping.wait(self._interval)
        if self._driver is not None:
            self._driver.close()

    def _sample(self, driver: "Driver") -> None:
        if driver.needs_reopening and time.monotonic() >= self._retry_at:
            self._retry_at = time.monotonic() + self._interval * 2**self._attempts
            self._attempts = min(self._attempts + 1, RETRY_DOUBLINGS)
            driver.reopen()
        if driver.is_open:
            self._publish(GpuStatus(GpuState.READY, "", driver.sample(), driver.version, time.time()))
            if not driver.needs_reopening:
                self._attempts = 0

    def _publish(self, status: GpuStatus) -> None:
        if not self._stopping.is_set():
            self._status = status
            self._note(status)

    def _note(self, status: GpuStatus) -> None:
        """Log a change of state, once, whoever sees it first: the sampling thread can't when it hangs."""
        with self._noting:
            if status.state is self._noted:
                return
            self._noted = status.state
        write = log.info if status.state in ORDINARY else log.warning
        write("gpu_telemetry_state", state=status.state, reason=status.reason, devices=len(status.devices))
