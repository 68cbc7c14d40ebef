import subprocess
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]

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
