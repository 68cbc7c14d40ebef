import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop of production."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of the real all-MiniLM-L6-v2, the one that `make serve` serves."""
    subprocess.run(["scripts/minilm.sh"], cwd=ROOT, check=True)
    return ROOT / "models" / "all-MiniLM-L6-v2"
