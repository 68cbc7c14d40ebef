"""Checkov's checks of all that people apply: each passes, or is an exception with its reason."""

import json
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.manifests.kustomize import APPLIED, ROOT, rendered

CHECKOV = ROOT / ".venv-checkov/bin/checkov"
EXCEPTIONS = yaml.safe_load(Path(__file__).with_name("checkov.yaml").read_text())

Failure = tuple[str, str]
"""A check and a resource."""


def _check(folder: Path) -> tuple[int, set[Failure]]:
    """How many checks passed, and which failed, of the folder's files."""
    done = subprocess.run(
        [CHECKOV, "--framework", "kubernetes", "--directory", folder, "--output", "json", "--skip-download"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0, done.stderr
    failed: list[dict[str, Any]] = report["results"]["failed_checks"]
    return report["summary"]["passed"], {(check["check_id"], check["resource"]) for check in failed}


def _excepted(failure: Failure, exception: dict[str, Any]) -> bool:
    check, resource = failure
    return check == exception["check"] and any(fnmatch(resource, name) for name in exception["resources"])


@pytest.mark.timeout(300)
def test_each_check_passes_or_is_an_exception_with_a_reason(tmp_path: Path) -> None:
    for applied in APPLIED:
        (tmp_path / f"{applied.replace('/', '-').strip('.') or 'root'}.yaml").write_text(rendered(applied))
    passed, failed = _check(tmp_path)

    assert passed > 1000
    assert {
        failure for failure in failed if not any(_excepted(failure, known) for known in EXCEPTIONS)
    } == set()
    stale = [
        (known["check"], name)
        for known in EXCEPTIONS
        for name in known["resources"]
        if not any(_excepted(failure, {**known, "resources": [name]}) for failure in failed)
    ]
    assert stale == []
    assert all(known["reason"].strip() for known in EXCEPTIONS)


def test_it_would_notice(tmp_path: Path) -> None:
    text = rendered("overlays/gpu").replace(
        "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true"
    )
    (tmp_path / "broken.yaml").write_text(text)
    _, failed = _check(tmp_path)
    assert ("CKV_K8S_20", "Deployment.vitrine.vitrine") in failed
