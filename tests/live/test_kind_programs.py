"""`make kind-up` looks at its programs first: each kind of broken one is named, with what to do."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.live


def program(folder: Path, name: str, prints: str, code: int = 0) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{prints}'\nexit {code}\n")
    path.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder of programs that are as they should be, as far as this check looks."""
    program(tmp_path, "kind", "kind v0.33.0 go1.26.1 linux/amd64")
    program(tmp_path, "kubectl", "Client Version: v1.36.2")
    program(tmp_path, "docker", "Docker version 29.1.0, build 0000000")
    return tmp_path


def check(folder: Path) -> tuple[int, str]:
    """The exit code, and what it says on either stream."""
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "ENGINE": "docker"}
    result = subprocess.run(
        ["scripts/kind-programs.sh"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    return result.returncode, result.stdout + result.stderr


def test_what_is_there_and_new_enough_passes(programs: Path) -> None:
    code, said = check(programs)
    assert code == 0
    assert f"kind 0.33.0 ({programs}/kind)" in said


@pytest.mark.parametrize("page", ["<!DOCTYPE html>\n<title>404</title>", "\n<html>Not found</html>"])
def test_a_web_page_in_a_programs_place_is_recognised(programs: Path, page: str) -> None:
    (programs / "kind").write_text(page)
    code, said = check(programs)
    assert code == 1
    assert f"{programs}/kind is a web page, not a program" in said
    assert "kubectl 1.36.2" in said  # the others are looked at all the same


def test_an_archive_in_a_programs_place_is_recognised(programs: Path) -> None:
    shutil.make_archive(str(programs / "kubectl"), "gztar", ROOT / "scripts")
    (programs / "kubectl.tar.gz").replace(programs / "kubectl")
    (programs / "kubectl").chmod(0o755)
    code, said = check(programs)
    assert code == 1
    assert f"{programs}/kubectl is no program for Linux" in said


def test_a_program_for_another_processor_is_recognised(programs: Path) -> None:
    """By an ELF header whose machine is none that exists."""
    elf = bytearray(Path("/bin/true").read_bytes())
    elf[18:20] = b"\xff\xfe"
    (programs / "kubectl").write_bytes(elf)
    code, said = check(programs)
    assert code == 1
    assert f"{programs}/kubectl does not run" in said


def test_a_program_that_is_too_old_is_named_with_the_version_needed(programs: Path) -> None:
    program(programs, "kind", "kind v0.9.0 go1.15.2 linux/amd64")
    code, said = check(programs)
    assert code == 1
    assert f"{programs}/kind has version 0.9.0: 0.33.0 or newer is needed" in said


def test_an_engine_that_does_not_work_is_named(programs: Path) -> None:
    program(programs, "docker", "Cannot connect to the Docker daemon", code=1)
    code, said = check(programs)
    assert code == 1
    assert "docker info" in said
