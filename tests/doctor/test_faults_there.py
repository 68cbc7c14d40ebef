"""Faults of what runs: the service, Prometheus, Alertmanager, the collector. Each is named first."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from app.doctor import alertmanager as alertmanager_check
from app.doctor import traces as traces_check
from app.doctor import web
from app.errors import InferenceFailed
from app.health import Phase
from app.models.runner import Row, TokenizedInput
from tests.doctor.conftest import World, broken, fake_server, without
from tests.doctor.servers import PAGE, Program, drips, greets, http_server, says_nothing, tcp_server
from tests.fakes import FakeRunner
from tests.live.conftest import Server
from tests.running import running, settings_for
from tests.tracing.collector import GrpcCollector, HttpCollector

STANDS_ON_SERVICE = ("health", "answer", "metrics", "targets", "traces")
STANDS_ON_METRICS = ("targets", "traces")
STANDS_ON_PROMETHEUS = ("targets", "rules", "alerts")

Listens = Callable[[], AbstractContextManager[str]]
IMPOSTORS: dict[str, tuple[Listens, str]] = {
    "a page": (lambda: http_server({}, (200, PAGE)), "with an HTML page (Sign in)"),
    "a redirect": (lambda: http_server({}, (302, b"")), "answers 302 with nothing in it"),
    "other JSON": (
        lambda: http_server({}, (200, b'{"status": "UP"}')),
        'answers 200 with \'{"status": "UP"}\'',
    ),
    "no JSON": (lambda: http_server({}, (200, b"\xff\xfe{")), "answers 200 with"),
    "no HTTP": (lambda: tcp_server(greets), "does not speak HTTP (it says 'SSH-2.0-OpenSSH_9.2')"),
    "silence": (lambda: tcp_server(says_nothing), "takes connections, but gives no answer in time"),
    "dripping": (lambda: tcp_server(drips), "takes connections, but"),
}
"""What may listen in another's place, and what is said of it."""


OF_EACH_KIND = pytest.mark.parametrize("impostor", ["other JSON", "no HTTP", "silence"], indirect=True)


@pytest.fixture(params=IMPOSTORS)
def impostor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(web, "TIMEOUT", 0.5)
    listens, said = IMPOSTORS[request.param]
    with listens() as url:
        yield url, said


def assert_named(world: World, impostor: tuple[str, str], option: str, expected: dict[str, str]) -> None:
    url, said = impostor
    began = time.monotonic()
    walked = world.walk(**{option: url})
    assert walked.states == expected
    assert said in walked.evidence
    assert time.monotonic() - began < 10


def test_something_else_in_the_services_place(world: World, impostor: tuple[str, str]) -> None:
    assert_named(world, impostor, "service_url", broken("service", *STANDS_ON_SERVICE))


@OF_EACH_KIND
def test_something_else_in_the_operations_ports_place(world: World, impostor: tuple[str, str]) -> None:
    assert_named(world, impostor, "ops_url", broken("metrics", *STANDS_ON_METRICS))


@OF_EACH_KIND
def test_something_else_in_prometheus_place(world: World, impostor: tuple[str, str]) -> None:
    assert_named(world, impostor, "prometheus_url", broken("prometheus", *STANDS_ON_PROMETHEUS))


@OF_EACH_KIND
def test_something_else_in_alertmanagers_place(world: World, impostor: tuple[str, str]) -> None:
    assert_named(world, impostor, "alertmanager_url", broken("alertmanager", "alerts"))


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("service_url", broken("service", *STANDS_ON_SERVICE)),
        ("ops_url", broken("metrics", *STANDS_ON_METRICS)),
        ("prometheus_url", broken("prometheus", *STANDS_ON_PROMETHEUS)),
        ("alertmanager_url", broken("alertmanager", "alerts")),
        ("otlp_endpoint", broken("collector", "traces")),
    ],
)
def test_nobody_there(world: World, free_port: int, option: str, expected: dict[str, str]) -> None:
    walked = world.walk(**{option: f"http://127.0.0.1:{free_port}"})
    assert walked.states == expected
    assert f"nobody listens on 127.0.0.1:{free_port}" in walked.evidence
    unnamed = world.walk(**{option: "https://no-such-host.invalid"})
    assert unnamed.states == expected
    assert "the name in no-such-host.invalid:443 does not resolve" in unnamed.evidence


def test_the_two_ports_taken_for_each_other(world: World) -> None:
    walked = world.walk(service_url=world.options["ops_url"])
    assert walked.states == broken("service", *STANDS_ON_SERVICE)
    assert "is Vitrine's operations port" in walked.evidence

    walked = world.walk(ops_url=world.options["service_url"])
    assert walked.states == broken("metrics", *STANDS_ON_METRICS)
    assert "/metrics answers 404" in walked.evidence


def test_no_tls_where_tls_is_asked_for(world: World) -> None:
    walked = world.walk(service_url=world.options["service_url"].replace("http:", "https:"))
    assert walked.states == broken("service", *STANDS_ON_SERVICE)
    assert "no TLS with 127.0.0.1:" in walked.evidence


def test_a_server_that_is_stopped(world: World, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "TIMEOUT", 0.5)
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        walked = world.walk()
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    assert walked.states == broken("service", *STANDS_ON_SERVICE)
    assert "gives no answer in time" in walked.evidence


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("phase", "said", "remedy"),
    [
        (Phase.STARTING, "/startupz: because", "Wait, if it has just begun"),
        (Phase.DRAINING, "/readyz: because", "ModelNotReady"),
        (Phase.FAILED, "/livez: because", "Only a restart helps"),
    ],
)
async def test_a_service_that_is_not_well(world: World, phase: Phase, said: str, remedy: str) -> None:
    async with running() as service:
        service.app.health.move(phase, "because")
        walked = await anyio.to_thread.run_sync(
            lambda: world.walk(service_url=service.url, ops_url=service.ops_url)
        )
    assert walked.states == broken("health", "answer", "traces")  # the metrics are there all the same
    assert said in walked.evidence
    assert remedy in walked.remedy


class Choosy(FakeRunner):
    """Computes canaries only."""

    def run(self, batch: Sequence[TokenizedInput], *, alone: bool = False) -> list[Row]:
        if any("Glass" in item.text for item in batch):
            raise InferenceFailed("not this one")
        return super().run(batch, alone=alone)


@pytest.mark.anyio
async def test_a_ready_service_that_fails_requests(world: World) -> None:
    async with running(runner=Choosy()) as service:
        walked = await anyio.to_thread.run_sync(
            lambda: world.walk(service_url=service.url, ops_url=service.ops_url)
        )
    assert walked.states == broken("answer", "traces")
    assert "/embed answers 500 with" in walked.evidence


@pytest.mark.anyio
async def test_a_service_that_wants_a_key(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces_check, "PATIENCE", 0.1)
    (tmp_path / "key").write_text("open sesame\n")
    async with running(settings_for(api_keys="open sesame")) as service:
        urls = {"service_url": service.url, "ops_url": service.ops_url}
        locked_out = await anyio.to_thread.run_sync(lambda: world.walk(**urls))
        let_in = await anyio.to_thread.run_sync(
            lambda: world.walk(**urls, api_key_file=str(tmp_path / "key"))
        )
    assert locked_out.states == broken("answer", "traces")
    assert "--api-key-file" in locked_out.remedy
    assert let_in.states == without("traces")


def test_a_prometheus_that_scrapes_another_job(world: World, monitoring: dict[str, Program]) -> None:
    walked = world.walk(prometheus_url=monitoring["other job"].url)
    assert walked.states == broken("targets")
    assert walked.evidence == "no target has the job vitrine; there are: inference"


def test_a_target_that_is_down(world: World, monitoring: dict[str, Program]) -> None:
    walked = world.walk(prometheus_url=monitoring["target down"].url)
    assert walked.states == broken("targets")
    assert "jaeger: http://127.0.0.1:1/metrics: " in walked.evidence
    assert "connection refused" in walked.evidence


def test_a_rule_that_fails(world: World, monitoring: dict[str, Program]) -> None:
    walked = world.walk(prometheus_url=monitoring["failing rule"].url)
    assert walked.states == broken("rules", "alerts")
    assert "job:up:labelled: " in walked.evidence
    assert "invalid regular expression" in walked.evidence


def test_rules_that_are_not_loaded(world: World, monitoring: dict[str, Program]) -> None:
    walked = world.walk(prometheus_url=monitoring["no rules"].url)
    assert walked.states == broken("rules", "alerts")
    assert "0 rules are loaded, and no Watchdog" in walked.evidence


def test_alerts_that_do_not_come(
    world: World, monitoring: dict[str, Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    untold = monitoring["untold"].url
    assert world.walk(alertmanager_url=untold).states == without("alerts")  # it may have just started

    monkeypatch.setattr(alertmanager_check, "PATIENCE", timedelta(0))
    walked = world.walk(alertmanager_url=untold)
    assert walked.states == broken("alerts")
    assert "Watchdog, which always fires, has not come" in walked.evidence


def test_configurations_that_do_not_load(world: World, monitoring: dict[str, Program]) -> None:
    # Last of those that need these two.
    monitoring["no rules"].reload_in_vain()
    walked = world.walk(prometheus_url=monitoring["no rules"].url)
    assert walked.states == broken("prometheus", *STANDS_ON_PROMETHEUS)
    assert "a newer one did not load" in walked.evidence

    monitoring["untold"].reload_in_vain()
    walked = world.walk(alertmanager_url=monitoring["untold"].url)
    assert walked.states == broken("alertmanager", "alerts")
    assert "a newer one did not load" in walked.evidence


def test_a_collector_of_the_other_protocol(world: World) -> None:
    with GrpcCollector() as collector:
        walked = world.walk(otlp_endpoint=collector.endpoint)
        assert walked.states == broken("collector", "traces")
        assert "does not speak HTTP" in walked.evidence
        assert "4318 is for http/protobuf, 4317 for grpc" in walked.remedy

        assert world.walk(otlp_endpoint=collector.endpoint, otlp_protocol="grpc").report.healthy
    walked = world.walk(otlp_protocol="grpc")
    assert walked.states == broken("collector", "traces")
    assert "takes no spans by gRPC" in walked.evidence


def test_a_collector_that_refuses(world: World) -> None:
    with HttpCollector() as collector:
        collector.refuses = True
        walked = world.walk(otlp_endpoint=collector.endpoint)
    assert walked.states == broken("collector", "traces")
    assert "/v1/traces answers 400" in walked.evidence


def test_spans_that_do_not_arrive(world: World, tmp_path: Path, free_port: int) -> None:
    nowhere = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port}",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with fake_server(tmp_path, nowhere) as server:
        walked = world.walk(service_url=server.url, ops_url=server.ops_url)
    assert walked.states == broken("traces")
    assert "0 delivered, the last never" in walked.evidence
