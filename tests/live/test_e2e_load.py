"""The load of the end-to-end tests keeps a true account: of a real server, and of one that goes away."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.live.conftest import Server, Start

pytestmark = pytest.mark.live


def start_load(server: Server, seconds: float, connections: int) -> subprocess.Popen[str]:
    """As the job in the cluster starts it: a file of its own, with nothing installed."""
    program = ROOT / "tests" / "e2e" / "load.py"
    command = [sys.executable, "-IS", str(program), server.url, str(seconds), str(connections)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def account_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return json.loads(output)  # type: ignore[no-any-return]


def outcomes(server: Server) -> dict[str, int]:
    """The server's own account."""
    server.terminate()
    assert server.wait() == 0
    lines = server.events("request")
    return {
        "answered": sum(line["status"] == 200 for line in lines),
        "refused": sum(line["status"] == 429 for line in lines),
    }


def test_it_counts_what_the_server_counts(start: Start) -> None:
    server = start(fake=True, APP_MODEL="fake").wait_until_ready()
    account = account_of(start_load(server, 2, 8))
    assert account["failed"] == 0
    assert account["answered"] > 100
    assert 0 < account["p50"] <= account["p99"]
    assert {name: account[name] for name in ("answered", "refused")} == outcomes(server)


def test_refusals_are_waited_out_and_no_failures(start: Start) -> None:
    server = start(fake=True, APP_MODEL="fake", APP_ADMISSION__MAX_INPUTS="1").wait_until_ready()
    account = account_of(start_load(server, 3, 8))
    assert account["failed"] == 0
    assert account["refused"] > 0
    assert account["answered"] > 0
    assert {name: account[name] for name in ("answered", "refused")} == outcomes(server)


def test_a_drain_fails_nothing_that_it_accepted_and_a_server_that_is_gone_fails_all(
    start: Start,
) -> None:
    server = start(fake=True, APP_MODEL="fake").wait_until_ready()
    process = start_load(server, 3, 4)
    server.wait_for("request")
    answered = outcomes(server)["answered"]
    account = account_of(process)
    assert account["answered"] == answered
    assert account["failed"] > 0
    assert "ConnectionRefusedError" in account["failures"][-1]
