import logging
from collections.abc import Iterator

import pytest

from app.edge.limits import EdgeLimits
from tests.edge.server import Edge


@pytest.fixture(scope="session")
def running() -> Iterator[Edge]:
    with Edge(EdgeLimits(max_body_bytes=200_000)) as edge:
        yield edge


@pytest.fixture
def edge(running: Edge) -> Edge:
    """Default limits, but for the body's: 200,000 bytes."""
    running.app.events.clear()
    running.app.release.clear()
    return running


HASTE = EdgeLimits(
    header_timeout=0.3, body_timeout=0.4, write_timeout=0.3, idle_timeout=0.5, linger=0.2, max_connections=60
)


@pytest.fixture
def hasty() -> Iterator[Edge]:
    """All times are fractions of a second."""
    with Edge(HASTE) as edge:
        yield edge


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing that a client does may look like an error of the server."""
    caplog.set_level(logging.INFO)
    yield
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
