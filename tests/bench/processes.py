"""What a server and all processes that it started have used, from /proc."""

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Have processes whose parent ends become this one's children, so that no server hides a part of it."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def descendants(root: int) -> set[int]:
    """The processes that descend from `root`, itself left out."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                children.setdefault(int(_fields(int(folder.name))[1]), []).append(int(folder.name))
            except OSError:
                continue
    found: set[int] = set()
    new = [root]
    while new:
        ours = children.get(new.pop(), [])
        new += [pid for pid in ours if pid not in found]
        found.update(ours)
    return found


def cpu_seconds(pids: set[int]) -> float:
    """CPU time of these processes and of those of their children that have ended."""
    ticks = 0
    for pid in pids:
        try:
            ticks += sum(map(int, _fields(pid)[11:15]))
        except OSError:
            continue
    return ticks / _TICK


def peak_bytes(pids: set[int]) -> int:
    """The most memory that these processes have had.

    What several share counts once: it is the sum of their proportional sizes, each with as much more as its
    resident size once was above what it is now.
    """
    total = 0
    for pid in pids:
        try:
            status = _kilobytes(Path(f"/proc/{pid}/status"))
            now = _kilobytes(Path(f"/proc/{pid}/smaps_rollup"))
        except OSError:
            continue
        if "VmHWM" in status:
            total += now["Pss"] + status["VmHWM"] - status["VmRSS"]
    return total * 1024


def resident_bytes(pids: set[int]) -> int:
    """The memory that these processes have now, what several share counted once."""
    total = 0
    for pid in pids:
        try:
            total += _kilobytes(Path(f"/proc/{pid}/smaps_rollup"))["Pss"]
        except OSError:
            continue
    return total * 1024


def end(pids: set[int], patience: float) -> None:
    """Ask these processes to end, and end those that have not after `patience` seconds."""
    for how, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, 10.0)):
        for pid in pids:
            _send(pid, how)
        deadline = time.monotonic() + wait
        while any(_alive(pid) for pid in pids):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        else:
            return


def _alive(pid: int) -> bool:
    try:
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    except ChildProcessError:
        pass  # a grandchild, or reaped before
    try:
        return _fields(pid)[0] != "Z"
    except OSError:
        return False


def _send(pid: int, how: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)


def _fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (state, parent, …): the second may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _kilobytes(file: Path) -> dict[str, int]:
    lines = (line.split() for line in file.read_text().splitlines())
    return {line[0].rstrip(":"): int(line[1]) for line in lines if len(line) == 3 and line[2] == "kB"}
