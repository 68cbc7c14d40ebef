"""Faults of this machine: programs, settings, model files, device, addresses. Each is named first."""

import gzip
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.doctor import programs as programs_check
from app.doctor.report import Report
from tests.checkpoints import edit_json
from tests.doctor.conftest import World, broken
from tests.doctor.servers import PAGE, greets, http_server, says_nothing, tcp_server
from tests.fake_nvml import FakeDriver, build
from tests.live.stacks import ROOT

OTHER_MACHINE = b"\x7fELF\x02\x01" + bytes(12) + (243).to_bytes(2, "little") + bytes(44)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
STANDS_ON_SETTINGS = ("model", "device", "address")


@pytest.mark.parametrize(
    ("content", "said", "remedy"),
    [
        (PAGE, "is an HTML page", "curl --fail"),
        (POINTER, "is a git-lfs pointer", "git lfs pull"),
        (gzip.compress(b"kubectl"), "is a gzip archive", "Unpack"),
        (OTHER_MACHINE, "is built for another processor, this machine is ", "download it again"),
        (b"Not Found", "is no program: it begins with b'Not Found'", "download it again"),
        (b"", "is no program: it is empty", "download it again"),
        (
            b"#!/nowhere/bash\nexit 0\n",
            "is a script for /nowhere/bash, which is not there",
            "download it again",
        ),
        (b"#!/bin/sh\necho no cluster for you >&2\nexit 3\n", "exit code 3: no cluster for you", "Install"),
        (b"#!/bin/sh\nexec /bin/sleep 30\n", "does not end in time", "Install"),
    ],
)
def test_a_program_that_is_something_else(
    world: World,
    programs: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    said: str,
    remedy: str,
) -> None:
    monkeypatch.setattr(programs_check, "TIMEOUT", 2.0 if b"sleep" in content else 20.0)
    (programs / "kubectl").write_bytes(content)
    (programs / "kubectl").chmod(0o755)
    walked = world.walk()
    assert walked.states == broken("programs")
    assert said in walked.evidence
    assert str(programs / "kubectl") in walked.evidence
    assert remedy in walked.remedy


def test_a_program_that_is_asked_for_and_not_there_or_may_not_be_run(world: World, programs: Path) -> None:
    walked = world.walk("--program=kind")
    assert walked.states == broken("programs")
    assert walked.evidence == "kind is not there"

    (programs / "kind").write_bytes(b"#!/bin/sh\necho kind v0.33.0\n")
    walked = world.walk("--program=kind")
    assert walked.states == broken("programs")
    assert walked.remedy == f"chmod +x {programs / 'kind'}"

    (programs / "kind").chmod(0o755)
    walked = world.walk("--program=kind")
    assert walked.report.healthy
    assert "kind 0.33.0" in walked.report.layers[0].evidence[0]


def test_a_promtool_that_is_too_old_for_the_rules(world: World, programs: Path) -> None:
    (programs / "promtool").unlink()
    (programs / "promtool").write_bytes(b"#!/bin/sh\necho promtool, version 2.37.1\n")
    (programs / "promtool").chmod(0o755)
    walked = world.walk()
    assert walked.states == broken("programs")
    assert "2.37.1, the rules need 2.42" in walked.evidence


def test_a_program_that_is_not_known_is_never_run(world: World, programs: Path, tmp_path: Path) -> None:
    (programs / "helper").write_text(f"#!/bin/sh\n/usr/bin/touch {tmp_path}/was-run\n")
    (programs / "helper").chmod(0o755)
    assert world.walk("--program=helper").report.healthy
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("APP_PROT", "8000", "did you mean APP_PORT?"),
        ("APP_PORT", "tcp://10.0.0.1:80", "APP_PORT='tcp://10.0.0.1:80'"),
        ("APP_MODEL", "", "APP_MODEL=''"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "OTEL_EXPORTER_OTLP_PROTOCOL='http/json'"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "OTEL_TRACES_EXPORTER='zipkin'"),
    ],
)
def test_a_wrong_setting(world: World, collector: object, name: str, value: str, said: str) -> None:
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": world.options["otlp_endpoint"]}
    walked = world.walk(**{**endpoint, "otlp_protocol": "http/protobuf", name: value})
    assert walked.states == broken("settings", *STANDS_ON_SETTINGS)
    assert said in walked.evidence
    assert "python -m app serve --help" in walked.remedy


def test_right_otel_variables_are_no_finding(world: World) -> None:
    endpoint = world.options.pop("otlp_endpoint")
    walked = world.walk(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_BSP_SCHEDULE_DELAY="100")
    assert walked.report.healthy
    assert f"{endpoint}/v1/traces takes spans" in walked.report.model_dump_json()


def _html(folder: Path) -> None:
    (folder / "config.json").write_bytes(PAGE)


def _pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(POINTER)


def _cut(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", 5000)


def _pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _flipped_bit(folder: Path) -> None:
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-100] ^= 1
    (folder / "model.safetensors").write_bytes(content)


def _no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def _other_architecture(folder: Path) -> None:
    (folder / "modules.json").unlink()
    (folder / "vitrine-manifest.json").unlink()
    edit_json(folder / "config.json", architectures=["BertForQuestionAnswering"])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (shutil.rmtree, "is not a folder"),
        (_html, "config.json is an HTML page"),
        (_pointer, "model.safetensors is a git-lfs pointer"),
        (_cut, "model.safetensors is truncated"),
        (_pickle, "holds its weights as a pickle only"),
        (_flipped_bit, "model.safetensors has sha256"),
        (_no_tokenizer, "holds no tokenizer.json"),
        (_other_architecture, "No task for the architecture"),
    ],
)
def test_a_damaged_model(
    world: World, sealed_model: Path, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(sealed_model, folder)
    damage(folder)
    walked = world.walk(APP_MODEL=str(folder))
    assert walked.states == broken("model")
    assert said in walked.evidence
    assert f"python -m app model verify {folder}" in walked.remedy


def test_a_model_of_another_revision(world: World) -> None:
    walked = world.walk(APP_MODEL_REVISION="abc")
    assert walked.states == broken("model")
    assert "APP_MODEL_REVISION is abc" in walked.evidence


def test_cuda_is_asked_for_where_there_is_no_gpu(world: World) -> None:
    walked = world.walk(APP_DEVICE="cuda")
    assert walked.states == broken("device")
    assert "APP_DEVICE=cuda, but" in walked.evidence
    assert "libnvidia-ml.so.1 was not found" in walked.evidence
    assert "APP_DEVICE=cpu" in walked.remedy


@pytest.fixture(scope="session")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (
            {"error.nvmlInitWithFlags": 18},
            "libnvidia-ml.so.1 and the kernel driver are of different versions",
        ),
        ({"error.nvmlInitWithFlags": 9}, "the NVIDIA kernel driver is not loaded"),
        ({"hang.nvmlDeviceGetCount_v2": 1}, "the driver has not answered"),
        ({"1.lost": 1}, "GPU 1 "),
    ],
)
def test_a_driver_with_a_fault(
    world: World, nvml: Path, tmp_path: Path, state: dict[str, int], said: str
) -> None:
    driver = FakeDriver(nvml, tmp_path)
    driver.update(state)
    report = in_a_process(world, **driver.environ, APP_TELEMETRY__GPU_DEADLINE="0.5")
    assert {layer.name: layer.state.value for layer in report.layers} == broken("device")
    (device,) = (layer for layer in report.layers if layer.name == "device")
    assert said in "\n".join(device.evidence)
    assert device.remedy


def test_a_healthy_driver_is_no_finding(world: World, nvml: Path, tmp_path: Path) -> None:
    report = in_a_process(world, **FakeDriver(nvml, tmp_path).environ)
    assert report.healthy
    (device,) = (layer for layer in report.layers if layer.name == "device")
    assert "driver 999.0, Fake H100" in device.evidence[0]


def in_a_process(world: World, **environment: str) -> Report:
    """The report of the doctor as its user starts it."""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in world.options.items()]
    run = subprocess.run(
        [sys.executable, "-m", "app", "doctor", "--json", "--request", *options],
        env={**os.environ, "PYTHONPATH": str(ROOT), **world.settings, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    report = Report.model_validate_json(run.stdout)
    assert run.returncode == (0 if report.healthy else 1)
    return report


@pytest.mark.parametrize("variable", ["APP_HOST", "APP_OPS_HOST"])
def test_a_container_that_listens_on_its_loopback(world: World, variable: str) -> None:
    outside = {"APP_HOST": "0.0.0.0", "APP_OPS_HOST": "0.0.0.0", variable: "127.0.0.1"}
    walked = world.walk("--container", **outside)
    assert walked.states == broken("address")
    assert f"{variable}=127.0.0.1 in a container" in walked.evidence
    assert f"{variable}=0.0.0.0" in walked.remedy


def test_a_container_that_listens_everywhere_is_no_finding(world: World) -> None:
    assert world.walk("--container", APP_HOST="0.0.0.0", APP_OPS_HOST="::").report.healthy


@contextmanager
def web_page() -> Iterator[str]:
    with http_server({}, (200, PAGE)) as url:
        yield url


@pytest.mark.parametrize(
    ("who", "said"),
    [
        (web_page, "answers 200 with an HTML page (Sign in)"),
        (lambda: tcp_server(greets), "does not speak HTTP (it says 'SSH-2.0-OpenSSH_9.2')"),
    ],
)
def test_a_port_that_something_else_has(world: World, who: Callable[..., Iterator[str]], said: str) -> None:
    with who() as url:  # type: ignore[attr-defined]
        walked = world.walk(APP_OPS_PORT=url.rpartition(":")[2])
    assert walked.states == broken("address")
    assert "APP_OPS_HOST, APP_OPS_PORT: cannot listen on 127.0.0.1:" in walked.evidence
    assert said in walked.evidence
    assert "ss -ltnp" in walked.remedy


def test_one_port_for_both(world: World) -> None:
    walked = world.walk(APP_OPS_PORT=world.settings["APP_PORT"])
    assert walked.states == broken("address")
    assert "APP_PORT and APP_OPS_PORT are both" in walked.evidence


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_of_another_machine(world: World, host: str) -> None:
    walked = world.walk(APP_HOST=host)
    assert walked.states == broken("address")
    assert f"cannot listen on {host}:" in walked.evidence
    assert "Set APP_HOST to an address of this machine" in walked.remedy


def test_free_ports_are_no_finding(world: World, free_port: int) -> None:
    walked = world.walk(APP_PORT=str(free_port), APP_OPS_PORT="0")
    assert walked.report.healthy
    with socket.create_server(("127.0.0.1", free_port)):
        pass
    assert f"127.0.0.1:{free_port} is free" in json.dumps(walked.report.model_dump())


def test_a_service_that_hangs_is_not_the_ports_fault(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.doctor.web.TIMEOUT", 0.3)
    with tcp_server(says_nothing) as url:
        walked = world.walk(APP_PORT=url.rpartition(":")[2], service_url=url)
    assert walked.report.first_broken == "service"
