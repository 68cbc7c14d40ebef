"""What a measurement was made on, so that its figures can be judged and got again."""

import os
import platform
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

_LSCPU = ("Model name", "CPU family", "Model", "CPU(s)", "Thread(s) per core", "L2 cache", "L3 cache")
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16")


def machine() -> dict[str, str]:
    """Processor, memory, system and the service's own main packages."""
    said = subprocess.run(
        ["lscpu"], capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}
    ).stdout
    cpu = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
    cpu = {name.strip(): value.strip() for name, value in cpu.items()}
    flags = cpu.get("Flags", "").split()
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpu": ", ".join(f"{name} {cpu[name]}" for name in _LSCPU if name in cpu),
        "instructions": " ".join(flag for flag in _FLAGS if flag in flags),
        "cores used": ",".join(map(str, sorted(os.sched_getaffinity(0)))),
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, {platform.python_implementation()} "
        f"{platform.python_version()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "uvicorn")),
        "commit": _commit(),
    }


def busy() -> float:
    """The share of the machine's CPU time that is used during a second; on a quiet machine below 0.05."""

    def read() -> tuple[int, int]:
        times = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:]))
        return times[3] + times[4], sum(times)

    idle, total = read()
    time.sleep(1)
    idle_then, total_then = read()
    return 1 - (idle_then - idle) / max(1, total_then - total)


def _commit() -> str:
    run = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return run.stdout.strip() or "unknown"
