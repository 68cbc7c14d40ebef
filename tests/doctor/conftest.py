"""A healthy world, in which one thing at a time is broken."""

import argparse
import os
import re
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from app.doctor import cli
from app.doctor.layers import LAYERS
from app.doctor.options import add_options
from app.doctor.report import LayerReport, Report
from app.doctor.walk import State
from app.models import cli as models
from monitoring.generate import generate_copy
from monitoring.slo import load_slo
from tests import checkpoints
from tests.doctor.servers import Program, alertmanager, prometheus
from tests.live.conftest import Server
from tests.live.stacks import ROOT
from tests.tracing.collector import HttpCollector

ALL_OK = {layer.name: "ok" for layer in LAYERS}
MANIFESTS = Path(__file__).with_name("manifests.yaml")


@dataclass(frozen=True, slots=True)
class Walked:
    """A walk's outcome."""

    code: int
    report: Report

    @property
    def states(self) -> dict[str, str]:
        return {layer.name: layer.state.value for layer in self.report.layers}

    @property
    def evidence(self) -> str:
        """Of the first broken layer."""
        return "\n".join(self._first.evidence)

    @property
    def remedy(self) -> str:
        assert self._first.remedy
        return self._first.remedy

    @property
    def _first(self) -> LayerReport:
        return next(layer for layer in self.report.layers if layer.name == self.report.first_broken)


Doctor = Callable[..., Walked]


def without(*names: str, **states: str) -> dict[str, str]:
    """All layers ok, but for those that are named: skipped, or in the state given."""
    return {**ALL_OK, **dict.fromkeys(names, "skipped"), **states}


def broken(name: str, *blocked: str, **states: str) -> dict[str, str]:
    """All layers ok, but for one, and those that stand on it."""
    return {**ALL_OK, name: "broken", **dict.fromkeys(blocked, "blocked"), **states}


@pytest.fixture(autouse=True)
def _of_no_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the tester has set, and where the tester stands, is none of the doctor's business here."""
    for name in os.environ:
        if name.startswith(("APP_", "OTEL_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The PATH: a folder with a promtool."""
    folder = tmp_path / "programs"
    folder.mkdir()
    promtool = shutil.which("promtool")
    assert promtool
    (folder / "promtool").symlink_to(promtool)
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """Walks with options and settings."""

    def walk(*options: str, **settings: str) -> Walked:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        parser = argparse.ArgumentParser()
        add_options(parser)
        code = cli.run(parser.parse_args([*options, "--json"]))
        # Beside it may be log lines, of this process or of a service in it.
        printed = re.search(r"^\{\n.*^\}$", capsys.readouterr().out, re.MULTILINE | re.DOTALL)
        assert printed
        walked = Walked(code, Report.model_validate_json(printed[0]))
        first = next((layer.name for layer in walked.report.layers if layer.state is State.BROKEN), None)
        assert (walked.report.first_broken, walked.report.healthy) == (first, first is None)
        assert walked.code == (0 if first is None else 1)
        return walked

    return walk


@pytest.fixture(scope="session")
def sealed_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole model; do not change it."""
    folder = checkpoints.embedder(tmp_path_factory.mktemp("doctor") / "model")
    models.seal(folder)
    return folder


@pytest.fixture(scope="session")
def collector() -> Iterator[HttpCollector]:
    with HttpCollector() as receiver:
        yield receiver


@contextmanager
def fake_server(folder: Path, settings: dict[str, str]) -> Iterator[Server]:
    """The real server with a fake model, ready."""
    command = [sys.executable, "-m", "tests.live.fake_server"]
    running = Server(command, {"APP_MODEL": "fake", "PYTHONPATH": str(ROOT), **settings}, folder)
    try:
        yield running.wait_until_ready()
    finally:
        running.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, collector: HttpCollector) -> Iterator[Server]:
    """Do not break it."""
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "20"}
    with fake_server(tmp_path_factory.mktemp("server"), settings) as running:
        yield running


@pytest.fixture(scope="session")
def monitoring(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Iterator[dict[str, Program]]:
    """Real Prometheuses and Alertmanagers, well and broken; all at once, since each takes seconds."""
    folder = tmp_path_factory.mktemp("monitoring")
    # Those of the cluster, evaluated every 0.3 s instead of every 30
    generate_copy(load_slo(window_scale=Decimal("0.01")), folder / "generated")
    rules = str(folder / "generated/rules/*.yaml")
    with ExitStack() as stack:
        start = stack.enter_context
        told, untold = start(alertmanager(folder / "told")), start(alertmanager(folder / "untold"))
        scraped = {"vitrine": server.ops_url, "alertmanager": told.url}
        programs = {
            "prometheus": start(prometheus(folder / "well", scraped, rules, told.url)),
            "other job": start(prometheus(folder / "job", {"inference": server.ops_url}, rules)),
            "target down": start(prometheus(folder / "target", {**scraped, "jaeger": "127.0.0.1:1"}, rules)),
            "failing rule": start(prometheus(folder / "failing", scraped, "failing.yaml")),
            "no rules": start(prometheus(folder / "none", scraped, "none/*.yaml")),
        }
        for program in programs.values():
            program.settle()
        told.until("/api/v2/alerts", lambda body: b"Watchdog" in body)
        yield {**programs, "alertmanager": told, "untold": untold}


@dataclass(frozen=True, slots=True)
class World:
    """All that can be looked at, and the doctor that looks at it."""

    options: dict[str, str]
    settings: dict[str, str]
    doctor: Doctor

    def walk(self, *flags: str, **changes: str) -> Walked:
        """Walk through it, with other options (`service_url=…`) or settings (`APP_…=…`)."""
        settings = {name: value for name, value in changes.items() if name.isupper()}
        options = {name: value for name, value in changes.items() if not name.isupper()}
        given = [f"--{name.replace('_', '-')}={value}" for name, value in (self.options | options).items()]
        return self.doctor("--request", *given, *flags, **self.settings | settings)


@pytest.fixture
def world(
    doctor: Doctor,
    programs: Path,
    sealed_model: Path,
    server: Server,
    monitoring: dict[str, Program],
    collector: HttpCollector,
) -> World:
    return World(
        options={
            "service_url": server.url,
            "ops_url": server.ops_url,
            "prometheus_url": monitoring["prometheus"].url,
            "alertmanager_url": monitoring["alertmanager"].url,
            "otlp_endpoint": collector.endpoint,
            "manifests": str(MANIFESTS),
            "program": "promtool",
        },
        settings={
            "APP_MODEL": str(sealed_model),
            "APP_DEVICE": "auto",
            "APP_PORT": server.url.rpartition(":")[2],
            "APP_OPS_PORT": server.ops_url.rpartition(":")[2],
        },
        doctor=doctor,
    )


@pytest.fixture
def free_port() -> int:
    """A port that nobody has right now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
