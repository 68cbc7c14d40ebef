"""KServe's `InferenceRESTClient`, unchanged. Its pins contradict ours, so it has its own environment."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clients.reference import TEXTS, assert_same_vectors, embed
from tests.conftest import ROOT

pytestmark = pytest.mark.clients

MODEL = "all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def answers(embedder_url: str) -> dict[str, Any]:
    """What the client got: see kserve_client.py."""
    python = ROOT / ".venv-clients" / "bin" / "python"
    script = Path(__file__).with_name("kserve_client.py")
    command = [str(python), str(script), embedder_url, MODEL, json.dumps(TEXTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_health(answers: dict[str, Any]) -> None:
    assert answers["live"] is True
    assert answers["ready"] is True
    assert answers["model_ready"] is True
    assert answers["other_model_ready"] is False


@pytest.mark.parametrize("form", ["binary", "json"])
def test_embeddings(answers: dict[str, Any], form: str, minilm: Path) -> None:
    assert_same_vectors(np.array(answers[form], np.float32), embed(minilm, TEXTS))
    assert answers["id"] == "mine"


def test_errors_say_what_is_wrong(answers: dict[str, Any]) -> None:
    assert "not served here" in answers["error"]
