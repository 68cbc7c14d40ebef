"""A fake NVIDIA driver: `nvml.c` built as libnvidia-ml.so.1, and the state that it answers from.

The loader reads LD_LIBRARY_PATH when a process starts, so the code under test runs in a process of its own,
with `FakeDriver.environ` in its environment.

Keys of the state, all numbers; GPU `0` stands for any, `0:1` for MIG instance 1 of it:

- `count`, `driver_minor`
- `error.<function>` or `0.error.<function>`: NVML's error code to return
- `hang.<function>`: block while it is 1
- `0.lost`: errors until it is back to 0 *and* the library was initialised again
- `0.serial` (the end of its UUID; its index unless set), `0.error.field.<id>`, `0.event_types`, and what
  `healthy_gpu` sets
- `0.mig`, `0:1.instance`, `0:1.memory_{total,used,reserved}`
- `event.<n>.gpu`, `event.<n>.xid`: XID errors, delivered once each in the order of n
"""

import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).with_name("nvml.c")


def build(folder: Path, *options: str) -> Path:
    """Compile the library into `folder`, which becomes the LD_LIBRARY_PATH; needs gcc."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["gcc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", *options]
    subprocess.run([*command, "-o", str(folder / "libnvidia-ml.so.1"), str(SOURCE)], check=True)
    return folder


def healthy_gpu(gpu: int) -> dict[str, int]:
    """The state of a busy GPU; its numbers differ from each other and from the next GPU's."""
    numbers = {
        "utilization": 37,
        "memory_utilization": 21,
        "memory_total": 80 * 2**30,
        "memory_used": 3 * 2**30 + 4096,
        "memory_reserved": 500 * 2**20,
        "temperature": 54,
        "power_milliwatts": 312_345,
        "power_limit_milliwatts": 700_000,
        "energy_millijoules": 9_876_543_210,
        "sm_megahertz": 1_410,
        "memory_megahertz": 2_619,
        "ecc_corrected": 11,
        "ecc_uncorrected": 2,
        "rows_corrected": 5,
        "rows_uncorrected": 1,
        "pcie_transmit": 1_000_000,
        "pcie_receive": 2_000_000,
        "pcie_replays": 7,
    }
    flags = {
        "reasons_supported": 0x1EF,  # all but sync_boost, 0x10
        "reasons": 0x24,  # sw_power_cap and sw_thermal_slowdown
        "rows_pending": 1,
        "rows_failed": 0,
    }
    shifted = {name: number + gpu for name, number in numbers.items()}
    return {f"{gpu}.{name}": value for name, value in (shifted | flags).items()}


class FakeDriver:
    """The library in `folder_of_library` with a state of its own, changed at run time."""

    def __init__(self, folder_of_library: Path, folder: Path) -> None:
        self._state_file, self._calls_file = folder / "state", folder / "calls"
        self._state: dict[str, int] = {}
        self._events = 0
        self.environ = {
            "LD_LIBRARY_PATH": str(folder_of_library),
            "FAKE_NVML_STATE": str(self._state_file),
            "FAKE_NVML_CALLS": str(self._calls_file),
        }
        self.update({"count": 2, **healthy_gpu(0), **healthy_gpu(1)})

    def update(self, state: Mapping[str, int]) -> None:
        """Change the state, all keys at once."""
        self._state |= state
        written = self._state_file.with_suffix(".new")
        written.write_text("".join(f"{key} {value}\n" for key, value in self._state.items()))
        written.replace(self._state_file)

    def report_xid(self, gpu: int, *xids: int) -> None:
        """Queue XID errors for delivery."""
        events: dict[str, int] = {}
        for xid in xids:
            events |= {f"event.{self._events}.gpu": gpu, f"event.{self._events}.xid": xid}
            self._events += 1
        self.update(events)

    def calls(self) -> Counter[str]:
        """How often each function was called so far."""
        return Counter(self._calls_file.read_text().split()) if self._calls_file.exists() else Counter()
