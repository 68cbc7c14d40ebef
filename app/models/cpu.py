"""How many CPUs this process may use, and how its threads share them."""

import os
from pathlib import Path


def cpu_quota(cgroups: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int:
    """Whole CPUs by affinity and by the cgroup's quota (cgroup v2's cpu.max, its parents' too), at least 1.

    A fraction is dropped: a thread more than the quota has time for is throttled, and all others wait for it.
    """
    cpus = float(len(os.sched_getaffinity(0)))
    try:
        own = membership.read_text().splitlines()[-1].removeprefix("0::/")
    except (OSError, IndexError):
        own = ""
    group = cgroups / own
    for folder in (group, *group.parents):
        try:
            quota, period = (folder / "cpu.max").read_text().split()
            cpus = min(cpus, int(quota) / int(period))
        except (OSError, ValueError):
            continue  # no such file, or "max"
    return max(1, int(cpus))


def share_cpus() -> None:
    """Tell the libraries, before they are imported, how their threads wait. What is set already stays."""
    # A thread of torch's that waits for others shall soon sleep: one that spins takes the CPU from those it
    # waits for, and where CPUs are shared a batch then takes a hundred times as long. But some ten
    # microseconds are shorter than waking up, and a batch has some hundred such waits.
    os.environ.setdefault("OMP_WAIT_POLICY", "ACTIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    # Many texts at once are no reason to take the CPU from the workers, nor a thread for each of the host's.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
