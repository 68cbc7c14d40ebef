"""Checkov's checks of what people apply and of the Dockerfile: each passes, or is excepted with a reason."""

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

    report = _checked("kubernetes", path)
    assert report["summary"]["passed"] > 500
    return {(check["check_id"], check["resource"]) for check in report["results"]["failed_checks"]}


def _checked(framework: str, *paths: Path) -> dict[str, Any]:
    """What checkov says of the files."""
    done = subprocess.run(
        [CHECKOV, "--framework", framework, "--file", *paths, "--output", "json", "--skip-download"],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0, done.stderr
    return report


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


@pytest.mark.timeout(300)
def test_of_the_dockerfile_only_what_is_planted_fails(tmp_path: Path) -> None:
    """Into a copy, whose last stage's user is root: that checkov looks at all."""
    planted = tmp_path / "Dockerfile"
    planted.write_text((ROOT / "Dockerfile").read_text() + "USER root\n")
    report = _checked("dockerfile", ROOT / "Dockerfile", planted)
    assert report["summary"]["passed"] > 400
    failed = [
        (check["check_id"], Path(check["file_abs_path"])) for check in report["results"]["failed_checks"]
    ]
    assert failed == [("CKV_DOCKER_8", planted)]
    # The base's version, of both files
    skipped = [
        (check["check_id"], check["check_result"]["suppress_comment"])
        for check in report["results"]["skipped_checks"]
    ]
    assert skipped == 2 * [("CKV_DOCKER_7", "The base is an argument, and its default has a version")]
