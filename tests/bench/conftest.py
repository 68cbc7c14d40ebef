"""The service alone, with all its telemetry on, for the measurements of it by itself."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.bench.contenders import BY_NAME
from tests.bench.load import BUILD, write_requests
from tests.bench.running import Running, started
from tests.bench.sink import collector

Serve = Callable[..., Running]


@pytest.fixture
def serve(minilm: Path) -> Iterator[Serve]:
    """Start Vitrine as in the comparisons, with settings given as keywords; it ends with the test."""
    with ExitStack() as stack:

        def start(**settings: str) -> Running:
            BUILD.mkdir(parents=True, exist_ok=True)
            endpoint = stack.enter_context(collector())
            return stack.enter_context(
                started(
                    BY_NAME["vitrine"],
                    minilm,
                    dtype="float32",
                    text="glass",
                    variables={"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **settings},
                )
            )

        yield start


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., Path]:
    """Write requests for these inputs, each a text or a list of texts."""

    def write(inputs: list[str] | list[list[str]], **headers: str) -> Path:
        bodies = [{"model": "all-MiniLM-L6-v2", "input": one} for one in inputs]
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return write_requests(tmp_path / f"{len(inputs)}.requests", "/v1/embeddings", bodies, sent)

    return write
