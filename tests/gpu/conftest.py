import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fake_nvml import FakeDriver, build

ROOT = Path(__file__).parents[2]
INTERVAL, DEADLINE = 0.05, 0.5

Series = dict[str, float]
T = TypeVar("T")


class Exposer:
    """The process of `exposer.py`."""

    def __init__(self, environ: dict[str, str], **arguments: object) -> None:
        options = json.dumps({"interval": INTERVAL, "deadline": DEADLINE, **arguments})
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.gpu.exposer", options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **environ},
        )
        self.seconds = 0.0  # what the last answer took, in the process

    def ask(self, command: str) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        print(command, file=self.process.stdin, flush=True)
        reply = json.loads(self.process.stdout.readline())
        self.seconds = reply["seconds"]
        return reply["answer"]

    def series(self, **labels: str) -> Series:
        """The samples with these labels, by name and own label; without any asked for, by all labels."""
        device = {"gpu", "uuid", "device_name"} if labels else set()
        return {
            sample.name
            + "".join(
                f"{{{value}}}" for name, value in sample.labels.items() if name not in device
            ): sample.value
            for family in text_string_to_metric_families(self.ask("metrics"))
            for sample in family.samples
            if labels.items() <= sample.labels.items()
        }

    def wait_for(self, **expected: float) -> Series:
        """GPU 0's series once they have these values."""
        return self.until(lambda: self.series(gpu="0"), lambda series: expected.items() <= series.items())

    def until(self, look: Callable[[], T], done: Callable[[T], object]) -> T:
        give_up = time.monotonic() + 10
        while not done(seen := look()):
            assert time.monotonic() < give_up, seen
            time.sleep(0.01)
        return seen

    def stop(self) -> float:
        """End the input, and with it the process; the seconds that it took to go."""
        began = time.monotonic()
        self.process.communicate(timeout=10)
        return time.monotonic() - began


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    if shutil.which("gcc") is None:
        pytest.skip("the fake driver needs gcc")
    folder = tmp_path_factory.mktemp("nvml")
    return {"new": build(folder / "new"), "old": build(folder / "old", "-DOLD_DRIVER")}


@pytest.fixture
def driver(libraries: dict[str, Path], tmp_path: Path) -> FakeDriver:
    return FakeDriver(libraries["new"], tmp_path)


@pytest.fixture
def expose(driver: FakeDriver) -> Iterator[Callable[..., Exposer]]:
    started: list[Exposer] = []

    def start(environ: dict[str, str] | None = None, **arguments: object) -> Exposer:
        started.append(Exposer(driver.environ if environ is None else environ, **arguments))
        return started[-1]

    yield start
    for exposer in started:
        exposer.process.kill()
        exposer.process.communicate()
