"""Choosing torch's device and dtype."""

from typing import Literal

import torch

from app.errors import DeviceUnavailable

DeviceName = Literal["auto", "cpu", "cuda"]
DtypeName = Literal["auto", "float32", "bfloat16", "float16"]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def select_device(name: DeviceName) -> torch.device:
    """`auto` takes the GPU if there is one. Raises `DeviceUnavailable` for `cuda` where there is none."""
    if torch.cuda.is_available():
        return torch.device("cpu" if name == "cpu" else "cuda")
    if name == "cuda":
        reason = (
            "this build of torch is for the CPU only; install the CUDA build, or the image for GPUs"
            if torch.version.cuda is None
            else "torch sees no GPU; check `nvidia-smi`, and the container's or pod's access to the GPU"
        )
        raise DeviceUnavailable(f"APP_DEVICE=cuda, but {reason}; or set APP_DEVICE=cpu.")
    return torch.device("cpu")


def select_dtype(name: DtypeName, device: torch.device, saved_as: str | None) -> torch.dtype:
    """`auto` is float32 on the CPU; on a GPU the checkpoint's own half precision type, if it has one."""
    if name == "auto":
        half = device.type == "cuda" and saved_as in {"float16", "bfloat16"}
        return _DTYPES[saved_as or ""] if half else torch.float32
    return _DTYPES[name]
