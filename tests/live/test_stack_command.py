"""`make stack` as its user meets it: what it says, and what it leaves behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from monitoring.stack.child import StackError
from monitoring.stack.ports import Ports
from tests.live.stacks import FAKE_SERVICE, ROOT, running_stack

pytestmark = pytest.mark.live


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def command(ports: Ports, **environment: str) -> "subprocess.Popen[str]":
    """`make stack` without make."""
    options = [f"--{name}-port={port}" for name, port in asdict(ports).items()]
    return subprocess.Popen(
        [sys.executable, "-m", "monitoring.stack", *options],
        env={**os.environ, **environment},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_and_leaves_nothing(minilm: Path, number: signal.Signals) -> None:
    ports = Ports.free()
    stack = command(ports, APP_MODEL=str(minilm))
    assert stack.stdout
    lines = iter(stack.stdout.readline, "")
    said = []
    for line in lines:
        said.append(line)
        if line.startswith("Ctrl-C"):
            break
    started = children(stack.pid)
    folder = re.search(r"/\S*vitrine-stack-\S+", "".join(said))
    assert folder
    assert Path(folder[0]).is_dir()
    assert len(started) == 3
    for port in (ports.api, ports.ops, ports.prometheus, ports.alertmanager):
        assert f"127.0.0.1:{port}/" in "".join(said)

    stack.send_signal(number)
    _, errors = stack.communicate(timeout=60)

    assert (stack.returncode, errors) == (0, "")
    assert not any(map(alive, started))
    assert not Path(folder[0]).exists()


def test_a_signal_while_the_model_loads_ends_all(minilm: Path) -> None:
    stack = command(Ports.free(), APP_MODEL=str(minilm))
    give_up = time.monotonic() + 30
    while len(started := children(stack.pid)) < 3:
        assert time.monotonic() < give_up
        time.sleep(0.02)

    stack.send_signal(signal.SIGTERM)
    _, errors = stack.communicate(timeout=60)

    assert (stack.returncode, errors) == (1, "Stopped before all was ready.\n")
    assert not any(map(alive, started))


def failure(stack: "subprocess.Popen[str]") -> str:
    """What it says when it cannot start."""
    _, errors = stack.communicate(timeout=60)
    assert stack.returncode == 1
    return errors


def test_a_port_in_use_is_named() -> None:
    ports = Ports.free()
    with socket.create_server(("127.0.0.1", ports.prometheus)):
        assert failure(command(ports)) == (
            f"Port {ports.prometheus} (prometheus) is taken: end what listens there, "
            "or choose another by --prometheus-port.\n"
        )


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    assert failure(command(Ports.free(), PATH=str(tmp_path))).startswith(
        "There is no program prometheus-alertmanager: install it"
    )


def test_a_service_that_cannot_start_says_why(tmp_path: Path) -> None:
    errors = failure(command(Ports.free(), APP_MODEL=str(tmp_path / "none")))
    assert "vitrine has ended with exit code 66" in errors
    assert str(tmp_path / "none") in errors


def test_a_part_that_dies_ends_the_watch(tmp_path: Path) -> None:
    with running_stack(tmp_path, "1", service=FAKE_SERVICE, settings={"APP_MODEL": "fake"}) as stack:
        alertmanager, prometheus, vitrine = stack.children
        os.kill(prometheus.pid, signal.SIGKILL)
        with pytest.raises(StackError, match="prometheus has ended with exit code -9"):
            stack.watch()
        assert alive(vitrine.pid)
    assert not alive(alertmanager.pid)
    assert not alive(vitrine.pid)
