"""The image, built by podman from what this machine has, and containers of it without any rights."""

import os
import shutil
import socket
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.live.conftest import Server

FOLDER = ROOT / "build" / "image"
"""What `scripts/test-base.sh` leaves."""
IMAGE = f"localhost/vitrine-test-{sha256(bytes(ROOT)).hexdigest()[:12]}"
"""One for each checkout, since those of one machine may be tested at the same time."""


def podman(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run podman to its end; what it says is in the error where it fails."""
    result = subprocess.run(
        ["podman", *arguments], env=environment(), cwd=ROOT, capture_output=True, text=True, check=False
    )
    if check and result.returncode:
        pytest.fail(f"podman {arguments[0]} exited {result.returncode}:\n{result.stdout}\n{result.stderr}")
    return result


def environment() -> dict[str, str]:
    return {**os.environ, "CONTAINERS_CONF": str(FOLDER / "containers.conf")}


def build() -> str:
    """Build the image. From the second time on, podman's cache has what has not changed."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("The image's tests make a base image, which wants root on Debian or Ubuntu")
    subprocess.run(["scripts/test-base.sh", str(FOLDER)], cwd=ROOT, check=True)
    arguments = {
        "ENGINE": "podman",
        "BASE": "localhost/vitrine-test-base",
        "TAG": IMAGE,
        "WHEELS": str(FOLDER / "wheels"),
        "PIP_CONF": str(FOLDER / "pip.conf"),
    }
    result = subprocess.run(
        ["scripts/image.sh"],
        cwd=ROOT,
        env=environment() | arguments,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        pytest.fail(f"the image cannot be built:\n{result.stdout}\n{result.stderr}")
    return IMAGE


class Container(Server):
    """A container with no rights and a read-only root, its log lines read as they come."""

    def __init__(self, name: str, settings: dict[str, str], tmp_path: Path, options: list[str]) -> None:
        self.name = name
        log = tmp_path / "termination-log"
        log.touch()
        log.chmod(0o666)  # as the kubelet makes it, for whatever user the container has
        # On the machine's own network: see `scripts/test-base.sh`.
        settings = {"APP_PORT": str(free_port()), "APP_OPS_PORT": str(free_port()), **settings}
        command = [
            *("podman", "run", "--rm", f"--name={name}"),
            *("--read-only", "--read-only-tmpfs=false", "--tmpfs=/tmp:rw,noexec,nosuid,nodev,size=64m"),
            *("--cap-drop=all", "--security-opt=no-new-privileges", "--memory=2g", "--cpus=2"),
            f"--volume={log}:/dev/termination-log",
            *(f"--env={setting}" for setting in (*settings, "APP_LOG_FORMAT")),
            *options,
            IMAGE,
        ]
        super().__init__(command, environment() | settings, tmp_path)

    def python(self, code: str) -> str:
        """What the image's Python prints, run inside beside the server."""
        return podman("exec", self.name, "python", "-c", code).stdout

    def close(self) -> None:
        podman("rm", "--force", "--ignore", "--time=0", self.name, check=False)
        super().close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
