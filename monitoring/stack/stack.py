"""The parts put together."""

import os
import re
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from threading import Event
from typing import Self

from promql_parser import parse_duration

from monitoring.generate import generate_copy
from monitoring.slo import Slo, promql, seconds
from monitoring.stack.child import Child, StackError, program
from monitoring.stack.ports import Ports
from monitoring.stack.receiver import Notification, Receiver

SERVICE = (sys.executable, "-m", "app", "serve")
START_TIMEOUT = 120.0
"""Seconds; the model loads and warms up meanwhile."""


class Stack:
    """The service, Prometheus and Alertmanager, from when all are ready to the block's end."""

    def __init__(
        self,
        folder: Path,
        ports: Ports,
        slo: Slo,
        *,
        service: Sequence[str] = SERVICE,
        environment: Mapping[str, str] = os.environ,
        told: Callable[[Notification], None] = lambda _: None,
    ) -> None:
        """Set up; nothing is written or started yet.

        Args:
            folder: an empty one, for all that is written.
            ports: where each part listens.
            slo: the objectives; `window_scale` shrinks every window, `for` and interval.
            service: the command that starts the service.
            environment: the service's, without its ports.
            told: is called on a thread for each alert that Alertmanager notifies.
        """
        self.ports = ports
        self.api_url = f"http://127.0.0.1:{ports.api}"
        self.ops_url = f"http://127.0.0.1:{ports.ops}"
        self.prometheus_url = f"http://127.0.0.1:{ports.prometheus}"
        self.alertmanager_url = f"http://127.0.0.1:{ports.alertmanager}"
        self.stopping = Event()
        """Ends all waiting; a signal's handler may set it."""
        self.children: tuple[Child, ...] = ()
        self._folder = folder
        self._slo = slo
        self._service = service
        self._environment = environment
        self._told = told
        self._running = ExitStack()

    def __enter__(self) -> Self:
        """Start all. Raises `StackError`, and leaves nothing running, if a part does not get ready."""
        alertmanager = program("prometheus-alertmanager", "alertmanager")  # Debian's name and its authors'
        prometheus = program("prometheus")
        self.ports.check()
        self._write_configuration()
        with ExitStack() as running:
            running.enter_context(Receiver(self.ports.receiver, self._told))
            self.children = (
                running.enter_context(self._alertmanager(alertmanager)),
                running.enter_context(self._prometheus(prometheus)),
                running.enter_context(self._vitrine()),
            )
            ready = (f"{self.alertmanager_url}/-/ready", f"{self.prometheus_url}/-/ready")
            for child, url in zip(self.children, (*ready, f"{self.ops_url}/readyz"), strict=True):
                self._wait_until_ready(child, url)
            self._running = running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End all, the last that was started first."""
        self._running.close()

    def watch(self) -> None:
        """Return when `stopping` is set. Raises `StackError` if a part ends before."""
        while not self.stopping.wait(0.2):
            for child in self.children:
                child.check()

    def _wait_until_ready(self, child: Child, url: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not _answers(url):
            child.check()
            if self.stopping.wait(0.1):
                raise StackError("Stopped before all was ready.")
            if time.monotonic() > deadline:
                raise StackError(f"{child.name} is not ready after {START_TIMEOUT:.0f} s: see {child.log}.")

    def _vitrine(self) -> Child:
        environment = {
            "APP_LOG_FORMAT": "json",
            "APP_ADMISSION__SLO_WAIT": str(seconds(self._slo.allowed_wait)),
            **self._environment,
            "APP_PORT": str(self.ports.api),
            "APP_OPS_PORT": str(self.ports.ops),
        }
        return Child(self._service, self._folder / "vitrine.log", environment)

    def _prometheus(self, path: str) -> Child:
        command = (
            path,
            f"--config.file={self._prometheus_config}",
            f"--storage.tsdb.path={self._folder / 'prometheus-data'}",
            f"--storage.tsdb.retention.time={promql(self._slo.window)}",
            f"--web.listen-address=127.0.0.1:{self.ports.prometheus}",
            f"--web.external-url={self.prometheus_url}",
            "--enable-feature=exemplar-storage",
        )
        return Child(command, self._folder / "prometheus.log")

    def _alertmanager(self, path: str) -> Child:
        command = (
            path,
            f"--config.file={self._alertmanager_config}",
            f"--storage.path={self._folder / 'alertmanager-data'}",
            f"--web.listen-address=127.0.0.1:{self.ports.alertmanager}",
            f"--web.external-url={self.alertmanager_url}",
            "--cluster.listen-address=",
        )
        return Child(command, self._folder / "alertmanager.log")

    @property
    def _prometheus_config(self) -> Path:
        return self._folder / "prometheus/prometheus.local.yml"

    @property
    def _alertmanager_config(self) -> Path:
        return self._folder / "prometheus/alertmanager/alertmanager.local.yml"

    def _write_configuration(self) -> None:
        generate_copy(self._slo, self._folder / "prometheus")
        moved = dict(zip(asdict(Ports()).values(), asdict(self.ports).values(), strict=True))
        for path in (self._prometheus_config, self._alertmanager_config):
            path.write_text(
                re.sub(
                    r"(?<=127\.0\.0\.1:)\d+",
                    lambda port: str(moved.get(int(port[0]), port[0])),
                    path.read_text(),
                )
            )
        # Who is told soon when windows are short must not wait long to be told.
        config = self._alertmanager_config
        config.write_text(
            re.sub(r"(?<=_wait: )[1-9]\w*|(?<=_interval: )[1-9]\w*", self._shrunk, config.read_text())
        )

    def _shrunk(self, duration: re.Match[str]) -> str:
        return promql(self._slo.scaled(parse_duration(duration[0])))


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except OSError:
        return False
    return True
