"""The device: does the driver answer, and would torch take the GPU that was asked for?"""

import time
from typing import TYPE_CHECKING

from app.doctor.scope import NO_SETTINGS, Scope
from app.doctor.walk import Broken, Ok, Result
from app.errors import DeviceUnavailable
from app.settings import Settings

if TYPE_CHECKING:
    from app.models.device import DeviceName
    from app.telemetry.gpu import GpuStatus

WITHOUT_GPU = frozenset({"library_missing", "no_device"})
"""States of the driver that are no fault on a machine without a GPU."""
TO_CPU = "or set APP_DEVICE=cpu."


def look(scope: Scope) -> Result:
    """Ask NVML, then torch; the latter only if it matters, since it takes seconds to import."""
    settings = scope.settings
    if not isinstance(settings, Settings):
        return NO_SETTINGS
    if settings.device == "cpu":
        return Ok(("APP_DEVICE=cpu: no GPU is needed",))
    status = _driver(settings.telemetry.gpu_deadline)
    if (finding := judge_driver(status)) is not None:
        return finding
    if settings.device == "auto" and status.state in WITHOUT_GPU:
        return Ok((f"no GPU, so the model runs on the CPU: {status.reason}",))
    return _torch(settings.device, status)


def judge_driver(status: "GpuStatus") -> Broken | None:
    """The finding, if there is a driver that fails; that there is none is torch's to judge."""
    if status.state not in WITHOUT_GPU | {"ready"}:
        return Broken(
            (f"the NVIDIA driver is not usable ({status.state}): {status.reason}",),
            f"See what `nvidia-smi` says on the node, restart or reset what it names; {TO_CPU}",
        )
    if down := [device for device in status.devices if not device.up]:
        return Broken(
            tuple(f"GPU {device.gpu} ({device.uuid}) does not answer: {device.reason}" for device in down),
            f"Reset the GPU or reboot the node, then restart the service (runbook GpuLost); {TO_CPU}",
        )
    return None


def _driver(deadline: float) -> "GpuStatus":
    """What NVML says, or that it hangs."""
    from app.telemetry.gpu import GpuTelemetry

    telemetry = GpuTelemetry(deadline=deadline)
    telemetry.start()
    while (status := telemetry.status()).state == "starting":
        time.sleep(0.01)
    telemetry.close()
    return status


def _torch(wanted: "DeviceName", status: "GpuStatus") -> Result:
    from app.models.device import select_device

    try:
        device = select_device(wanted)
    except DeviceUnavailable as error:
        return Broken(
            (error.message, f"NVML: {status.reason or 'the driver answers'}"),
            "See that this container or pod was given a GPU (nvidia.com/gpu, NVIDIA_VISIBLE_DEVICES), and "
            f"that torch is of the CUDA build; {TO_CPU}",
        )
    gpus = ", ".join(f"{gpu.name} ({gpu.uuid})" for gpu in status.devices)
    taken = f"the model runs on {device}"
    return Ok((f"driver {status.driver_version}, {gpus}; {taken}" if gpus else taken,))
