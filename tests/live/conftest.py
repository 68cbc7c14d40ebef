"""The real server as a process of its own, as its users start it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Self

import pytest

START_TIMEOUT = 120.0


class Server:
    """A server process whose log lines are read as they come."""

    def __init__(self, command: list[str], settings: dict[str, str], tmp_path: Path) -> None:
        self.termination_log = tmp_path / "termination-log"
        self.termination_log.touch()
        # Ports of the system's choice; what the tester's shell has set is none of the server's business.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("APP_")}
        environment |= {
            "APP_PORT": "0",
            "APP_OPS_PORT": "0",
            "APP_LOG_FORMAT": "json",
            "APP_TERMINATION_LOG": str(self.termination_log),
            **settings,
        }
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[dict[str, Any]] = []
        self._queue: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self.errors: list[str] = []
        self._readers = [Thread(target=self._read_log), Thread(target=self._read_errors)]
        for reader in self._readers:
            reader.start()

    def wait_for(self, event: str) -> dict[str, Any]:
        """The first line with that event, awaited."""
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                line = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                raise TimeoutError(f"no {event} in {self.lines}") from None
            if line is None:
                raise AssertionError(f"the server ended: {''.join(self.errors)} {self.lines}")
            if line["event"] == event:
                return line

    def wait_until_ready(self) -> Self:
        addresses = self.wait_for("listening")
        self.url: str = addresses["api"]
        self.ops_url: str = addresses["operations"]
        self.port = int(self.url.rpartition(":")[2])
        return self

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout: float = 60.0) -> int:
        code = self.process.wait(timeout)
        for reader in self._readers:
            reader.join(10)
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        assert self.process.stdout
        assert self.process.stderr
        self.process.stdout.close()
        self.process.stderr.close()

    def resident_bytes(self) -> int:
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == name]

    def _read_log(self) -> None:
        assert self.process.stdout
        for text in self.process.stdout:
            line = json.loads(text)
            self.lines.append(line)
            self._queue.put(line)
        self._queue.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr
        self.errors.extend(self.process.stderr)


Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers with settings given as keywords, and end them after the test."""
    servers: list[Server] = []

    def start_server(*, fake: bool = False, **settings: str) -> Server:
        program = ["-m", "tests.live.fake_server"] if fake else ["-m", "app", "serve"]
        servers.append(Server([sys.executable, *program], settings, tmp_path))
        return servers[-1]

    yield start_server
    for server in servers:
        server.close()
