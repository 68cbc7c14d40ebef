"""A real server process for each task, kept for the whole run, and what the clients need of it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import checkpoints
from tests.live.conftest import Server


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], str]]:
    """Serve a model's folder; gives the API's address."""
    servers: list[Server] = []

    def start(model: Path) -> str:
        settings = {"APP_MODEL": str(model), "APP_REQUEST_TIMEOUT": "30", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "app", "serve"]
        servers.append(Server(command, settings, tmp_path_factory.mktemp("server")))
        return servers[-1].wait_until_ready().url

    yield start
    for server in servers:
        server.terminate()
    codes = [server.wait() for server in servers]
    for server in servers:
        server.close()
    assert set(codes) <= {0}


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.text_classifier(tmp_path_factory.mktemp("models") / "classifier")


@pytest.fixture(scope="session")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.token_classifier(tmp_path_factory.mktemp("models") / "tagger")


@pytest.fixture(scope="session")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.cross_encoder(tmp_path_factory.mktemp("models") / "reranker")


@pytest.fixture(scope="session")
def embedder_url(serve: Callable[[Path], str], minilm: Path) -> str:
    """Of the real all-MiniLM-L6-v2."""
    return serve(minilm)


@pytest.fixture(scope="session")
def classifier_url(serve: Callable[[Path], str], classifier: Path) -> str:
    return serve(classifier)


@pytest.fixture(scope="session")
def tagger_url(serve: Callable[[Path], str], tagger: Path) -> str:
    return serve(tagger)


@pytest.fixture(scope="session")
def reranker_url(serve: Callable[[Path], str], reranker: Path) -> str:
    return serve(reranker)
