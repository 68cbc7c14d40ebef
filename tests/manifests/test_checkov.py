"""Checkov's checks of all that people apply: each passes, or is an exception with its reason."""

import json
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.manifests.kustomize import ROOT, build, distinct
from tests.manifests.objects import pod

CHECKOV = ROOT / ".venv-checkov/bin/checkov"
EXCEPTIONS = yaml.safe_load(Path(__file__).with_name("checkov.yaml").read_text())

Failure = tuple[str, str]
"""A check and a resource."""


PLANTED = ("CKV_K8S_20", "Deployment.vitrine.planted")
"""allowPrivilegeEscalation, of a copy of the service: that checkov looks at all."""


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> set[Failure]:
    """What fails, of all that people apply and one planted fault."""
    planted = pod(build("."), "vitrine").owner
    planted["metadata"]["name"] = "planted"
    planted["spec"]["template"]["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    path = tmp_path_factory.mktemp("checkov") / "objects.yaml"
    path.write_text(yaml.safe_dump_all([*distinct(), planted]))

    done = subprocess.run(
        [CHECKOV, "--framework", "kubernetes", "--file", path, "--output", "json", "--skip-download"],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0, done.stderr
    assert report["summary"]["passed"] > 500
    return {(check["check_id"], check["resource"]) for check in report["results"]["failed_checks"]}


def _excepted(failure: Failure, exception: dict[str, Any]) -> bool:
    check, resource = failure
    return check == exception["check"] and any(fnmatch(resource, name) for name in exception["resources"])


@pytest.mark.timeout(300)
def test_only_exceptions_and_what_is_planted_fail(failed: set[Failure]) -> None:
    assert {failure for failure in failed if not any(_excepted(failure, known) for known in EXCEPTIONS)} == {
        PLANTED
    }


@pytest.mark.timeout(300)
def test_each_exception_is_needed_and_has_its_reason(failed: set[Failure]) -> None:
    for known in EXCEPTIONS:
        assert known["reason"].strip()
        for name in known["resources"]:
            one = {**known, "resources": [name]}
            assert any(_excepted(failure, one) for failure in failed), one
