"""The image as an engine runs it: built from the Dockerfile, started with no rights, stopped under load."""

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from signal import SIGTERM
from typing import Any

import pytest

from app import __version__
from tests.conftest import ROOT
from tests.live.candidate import release_candidate
from tests.live.client import Connection, Reply, post_once
from tests.live.containers import Container, build, environment, podman
from tests.texts import texts

pytestmark = [pytest.mark.live, pytest.mark.image, pytest.mark.anyio, pytest.mark.timeout(900)]

MODEL = "all-MiniLM-L6-v2"
CPU_SECONDS = """
import os
ticks = open("/proc/1/stat").read().rpartition(")")[2].split()[11:13]
print(sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"))
"""
WHAT_IT_MAY_DO = """
import json, os
status = dict(line.split(":\\t", 1) for line in open("/proc/1/status").read().splitlines() if ":\\t" in line)
mounts = [line.split() for line in open("/proc/mounts")]
print(json.dumps({
    "user": status["Uid"].split(),
    "group": status["Gid"].split(),
    "capabilities": int(status["CapBnd"], 16) | int(status["CapEff"], 16),
    "no_new_privileges": status["NoNewPrivs"],
    "command": open("/proc/1/cmdline").read().split("\\0")[:-1],
    "writable": [
        folder for folder, _, _ in os.walk("/")
        if not folder.startswith(("/proc", "/dev", "/sys")) and os.access(folder, os.W_OK)
    ],
}))
"""
WHAT_IS_IN_IT = """
import glob, importlib.util, json, os, shutil
print(json.dumps({
    "programs": [name for name in ("cc", "gcc", "g++", "c++", "clang", "as", "ld", "make", "pip", "pip3")
                 if shutil.which(name)],
    "modules": [name for name in ("pip", "pytest") if importlib.util.find_spec(name)],
    "leftovers": [path for pattern in (
        "/build", "/wheels", "/run/secrets/*", "/root/.cache", "/tmp/pip*", "/var/lib/apt/lists/*_*",
        "/var/cache/apt/archives/*.deb", "/etc/pip.conf", "/vitrine/tests", "/vitrine/scripts",
    ) for path in glob.glob(pattern)],
    "without_bytecode": [path for path in glob.glob("/vitrine/app/**/*.py", recursive=True)
                         if not os.path.exists(importlib.util.cache_from_source(path))],
}))
"""


@pytest.fixture(scope="module")
def image() -> str:
    return build()


Run = Callable[..., Container]


@pytest.fixture
def run(image: str, tmp_path: Path) -> Iterator[Run]:
    """Run containers of the image with settings given as keywords, and remove them after the test."""
    containers: list[Container] = []

    def run_container(*options: str, **settings: str) -> Container:
        # The folder of all tests' folders has a name that no other run on this machine has.
        name = f"{tmp_path.parent.name}-{tmp_path.name.replace('_', '-')}-{len(containers)}"
        containers.append(Container(name, settings, tmp_path, list(options)))
        return containers[-1]

    yield run_container
    for container in containers:
        container.close()


def test_a_base_whose_python_is_a_release_candidate_is_refused(image: str, tmp_path: Path) -> None:
    candidate = release_candidate(tmp_path)
    steps = f"FROM {image}\nUSER root\nCOPY {candidate.name} /usr/local/bin/\n"
    (tmp_path / "Containerfile").write_text(steps)
    base = f"{image}-candidate"
    podman("build", f"--tag={base}", str(tmp_path))
    arguments = (f"--build-arg=BASE={base}", f"--build-arg=PYTHON={candidate.name}")
    refused = podman("build", "--target=python", *arguments, ".", check=False)
    podman("rmi", base)
    assert refused.returncode != 0
    assert f"The base's {candidate.name} is Python 3.11.0rc1" in refused.stderr
    assert "BASE_PYTHON" in refused.stderr.partition("while running runtime")[0]


def test_its_labels_say_what_it_is(image: str) -> None:
    config: dict[str, Any] = json.loads(podman("inspect", image).stdout)[0]["Config"]
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in config["Labels"].items()}
    assert labels["version"] == __version__
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert labels["revision"].removesuffix("-dirty") == commit.stdout.strip()
    age = datetime.now(UTC) - datetime.fromisoformat(labels["created"])
    assert timedelta(0) <= age < timedelta(hours=1)
    assert config["User"] == "10001:10001"
    assert set(config["ExposedPorts"]) == {"8000/tcp", "9000/tcp"}


async def test_with_no_rights_it_is_ready_in_time_and_answers(run: Run) -> None:
    started = time.monotonic()
    container = run().wait_until_ready()
    took = time.monotonic() - started
    spent = float(container.python(CPU_SECONDS))
    print(f"\nready after {took:.1f} s, of which {spent:.1f} s of a CPU")
    # Neighbours make it wait, and are no fault of its: alone it takes at most as long as it computes.
    assert spent < 20
    assert took < 60

    reply = await post_once(container.port, "/v1/embeddings", {"model": MODEL, "input": "Glass"})
    assert reply.status == 200
    assert reply.floats().shape == (384,)

    assert json.loads(container.python(WHAT_IT_MAY_DO)) == {
        "user": ["10001"] * 4,
        "group": ["10001"] * 4,
        "capabilities": 0,
        "no_new_privileges": "1",
        "command": ["python", "-m", "app", "serve"],
        "writable": [*writable_in_tmp(container)],
    }
    assert json.loads(container.python(WHAT_IS_IN_IT)) == {
        "programs": [],
        "modules": [],
        "leftovers": [],
        "without_bytecode": [],
    }
    # Nothing that it tried to write was refused.
    assert {line["level"] for line in container.lines} == {"info"}

    assert podman("healthcheck", "run", container.name).returncode == 0
    nobody_there = ["--env=APP_OPS_PORT=1", container.name, "python", "-IS", "/vitrine/app/healthcheck.py"]
    assert podman("exec", *nobody_there, check=False).returncode == 1


def writable_in_tmp(container: Container) -> list[str]:
    """The folders that it has made itself, all of them in /tmp."""
    return json.loads(  # type: ignore[no-any-return]
        container.python("import json, os; print(json.dumps([folder for folder, _, _ in os.walk('/tmp')]))")
    )


async def test_a_stop_under_load_loses_nothing(run: Run) -> None:
    container = run(APP_ADMISSION__MAX_WAIT="60", APP_REQUEST_TIMEOUT="60").wait_until_ready()
    corpus = cycle(texts(200))
    answered: dict[str, Reply] = {}
    stopped = False

    async def client(number: int) -> None:
        connection = Connection(container.port)
        for n in range(10_000):
            request_id = f"client{number}-{n}"
            body = {"model": MODEL, "input": next(corpus)}
            try:
                answered[request_id] = await connection.post("/v1/embeddings", body, x_request_id=request_id)
            except (ConnectionError, asyncio.IncompleteReadError):
                assert stopped, "a connection was lost before the stop"
                break
        connection.close()

    clients = [asyncio.create_task(client(number)) for number in range(32)]
    while len(answered) < 100:
        await asyncio.sleep(0.01)
        assert not any(task.done() for task in clients)
    stopped = True
    await asyncio.to_thread(podman, "stop", "--time=40", container.name)
    await asyncio.gather(*clients)

    assert container.wait() == 0
    assert {reply.status for reply in answered.values()} == {200}
    assert {line["request_id"] for line in container.events("request")} == set(answered)


def test_a_stop_while_it_starts_ends_it_at_once(run: Run) -> None:
    """The first process of a container ignores what it has no handler for."""
    container = run()
    deadline = time.monotonic() + 30
    while not handles_sigterm(container):
        assert time.monotonic() < deadline, "no handler in 30 s"
        time.sleep(0.02)
    started = time.monotonic()
    podman("stop", "--time=60", container.name)
    assert time.monotonic() - started < 20
    # On a busy machine the signal may come so late that the server is up and drains.
    assert container.wait() == (0 if container.events("draining") else 128 + SIGTERM)


def handles_sigterm(container: Container) -> bool:
    """Whether the container's first process does, as the kernel says from outside."""
    inspected = podman("inspect", "--format={{.State.Pid}}", container.name, check=False)
    process = Path("/proc") / (inspected.stdout.strip() or "0")
    # At first it is still the runtime, which handles every signal.
    if not process.exists() or not (process / "cmdline").read_bytes().startswith(b"python\0"):
        return False
    status = (process / "status").read_text().splitlines()
    caught = next(line for line in status if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (SIGTERM - 1) & 1)


def test_its_bill_of_materials_names_all_kinds_of_parts(image: str, tmp_path: Path) -> None:
    command = ["scripts/sbom.sh", image, str(tmp_path / "sbom.json")]
    subprocess.run(command, cwd=ROOT, check=True, env=environment() | {"ENGINE": "podman"})
    parts = json.loads((tmp_path / "sbom.json").read_text())["components"]

    versions = {part["name"].lower().replace("_", "-"): part.get("version") for part in parts}
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    locked = dict(line.split("==") for line in lock if "==" in line and ";" not in line)
    assert {name: versions.get(name, "").partition("+")[0] for name in locked} == locked
    assert "libc6" in versions

    (model,) = (part for part in parts if part["type"] == "machine-learning-model")
    assert model["name"] == f"sentence-transformers/{MODEL}"
    hashes = {file["name"]: file["hashes"][0]["content"] for file in model["components"]}
    assert hashes["model.safetensors"].startswith("53aa51172d142c89")


def test_a_flipped_bit_of_the_weights_ends_the_start(run: Run, minilm: Path, tmp_path: Path) -> None:
    corrupt = tmp_path / "model"
    shutil.copytree(minilm, corrupt)
    weights = bytearray((corrupt / "model.safetensors").read_bytes())
    weights[len(weights) // 2] ^= 1
    (corrupt / "model.safetensors").write_bytes(weights)

    container = run(f"--volume={corrupt}:/models/{MODEL}:ro")
    assert container.wait() == 66
    assert "model.safetensors has sha256" in container.termination_log.read_text()
