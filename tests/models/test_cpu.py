import os
from pathlib import Path

import pytest

from app.models.cpu import cpu_quota


@pytest.fixture(autouse=True)
def _eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))


def quota(tmp_path: Path, membership: str = "0::/\n", **limits: str) -> int:
    """Of a process in a cgroup tree, with the given cpu.max files; `__` is a slash."""
    for name, limit in limits.items():
        group = tmp_path / "cgroup" / name.replace("__", "/").strip("/")
        group.mkdir(parents=True, exist_ok=True)
        (group / "cpu.max").write_text(limit + "\n")
    (tmp_path / "self").write_text(membership)
    return cpu_quota(tmp_path / "cgroup", tmp_path / "self")


@pytest.mark.parametrize(
    ("limit", "cpus"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("150000 100000", 1),
        ("20000 100000", 1),
        ("1600000 100000", 8),
    ],
)
def test_a_containers_quota_counts(tmp_path: Path, limit: str, cpus: int) -> None:
    assert quota(tmp_path, **{"": limit}) == cpus


def test_a_parents_quota_counts(tmp_path: Path) -> None:
    limits = {"pods": "max 100000", "pods__a": "300000 100000", "pods__a__b": "max 100000"}
    assert quota(tmp_path, "1:name=systemd:/x\n0::/pods/a/b\n", **limits) == 3


def test_without_cgroups_the_affinity_counts(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path, tmp_path / "missing") == 8
