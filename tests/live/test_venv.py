"""`make` looks at the Python that it makes environments with, before it installs anything into them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.live.candidate import release_candidate

pytestmark = pytest.mark.live


def venv(folder: Path, python: str) -> subprocess.CompletedProcess[str]:
    """Have an environment made that is to hold nothing."""
    environment = {**os.environ, "PYTHON": python}
    command = ["scripts/venv.sh", str(folder)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_a_python_of_a_release_makes_an_environment(tmp_path: Path) -> None:
    done = venv(tmp_path / "venv", sys.executable)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "venv/bin/pip").exists()


def test_a_release_candidate_is_refused(tmp_path: Path) -> None:
    done = venv(tmp_path / "venv", str(release_candidate(tmp_path)))
    assert done.returncode == 1
    assert "needs a final release of Python 3.11 or newer" in done.stderr
    assert "(Python 3.11.0rc1)" in done.stderr
    assert "make PYTHON=" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_a_python_that_is_not_there_is_refused(tmp_path: Path) -> None:
    done = venv(tmp_path / "venv", str(tmp_path / "python3.99"))
    assert done.returncode == 1
    assert "python3.99' is not one (it does not run)" in done.stderr
