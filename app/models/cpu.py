"""How many CPUs this process may use."""

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
