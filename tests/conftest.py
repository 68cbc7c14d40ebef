import subprocess
from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import iscoroutinefunction
from pathlib import Path
from typing import ParamSpec

import anyio
import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]

P = ParamSpec("P")

# No deadline for an example: machines are shared, and a slow one is no wrong one.
settings.register_profile("vitrine", deadline=None)
settings.load_profile("vitrine")


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop of production."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of the real all-MiniLM-L6-v2, the one that `make serve` serves."""
    subprocess.run(["scripts/minilm.sh"], cwd=ROOT, check=True)
    return ROOT / "models" / "all-MiniLM-L6-v2"


def pytest_itemcollected(item: pytest.Item) -> None:
    """End an asynchronous test that hangs by cancelling it.

    What pytest-timeout raises in its signal's handler ends uvloop but not the test, which then hangs.
    """
    if isinstance(item, pytest.Function) and iscoroutinefunction(item.obj):
        marker = item.get_closest_marker("timeout")
        seconds = marker.args[0] if marker else float(item.config.getini("timeout"))
        item.obj = bounded(item.obj, seconds - 5)


def bounded(test: Callable[P, Awaitable[None]], seconds: float) -> Callable[P, Awaitable[None]]:
    @wraps(test)
    async def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with anyio.fail_after(seconds):
            await test(*args, **kwargs)

    return run
