from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from app.models.torch_runner import TorchRunner
from tests import checkpoints

Make = Callable[..., Path]
Load = Callable[..., TorchRunner]

MIXED = (
    "joy",
    "The quick brown fox jumps over the lazy dog near the old bridge in Paris.",
    "",
    "Angela Merkel met Barack Obama in Berlin, and they talked about the weather.",
    "😀 Zürich is nai\u0308ve",
    "what is the capital of France? " * 40,
)
"""Texts of very different lengths; the last is longer than the made checkpoints read."""


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes a checkpoint by its maker's name, once: do not change the folder."""

    @cache
    def make(maker: str, *args: Any, **settings: Any) -> Path:
        return getattr(checkpoints, maker)(tmp_path_factory.mktemp(maker), *args, **settings)  # type: ignore[no-any-return]

    return make


@pytest.fixture(scope="session")
def load() -> Load:
    """Loads a folder, once for each set of settings."""

    @cache
    def load(folder: Path, **settings: Any) -> TorchRunner:
        runner = TorchRunner(folder, name="a-model", device="cpu", threads=1, **settings)
        runner.load()
        return runner

    return load
