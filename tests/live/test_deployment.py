"""What the deploy workflow applies: an overlay whose image is the one that was named, by its digest."""

import hashlib
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.live

DIGEST = "sha256:" + hashlib.sha256(b"an image").hexdigest()
KUBECTL = Path(sysconfig.get_path("scripts")) / "kubectl"
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: vitrine}
spec:
  template:
    spec: {containers: [{name: vitrine, image: "vitrine:0.1.0"}, {name: other, image: "other:1"}]}
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One with an overlay named cpu."""
    overlay = tmp_path / "k8s" / "overlays" / "cpu"
    overlay.mkdir(parents=True)
    (overlay / "deployment.yaml").write_text(DEPLOYMENT)
    (overlay / "kustomization.yaml").write_text("resources: [deployment.yaml]\n")
    return tmp_path


def write(repository: Path, overlay: str, image: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts" / "deployment.sh", overlay, image, "build/deploy"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_overlay_has_the_digest_and_its_other_images_stay(repository: Path) -> None:
    assert write(repository, "cpu", f"ghcr.io/someone/vitrine@{DIGEST}").returncode == 0
    rendered = subprocess.run(
        [KUBECTL, "kustomize", "build/deploy"], cwd=repository, capture_output=True, text=True, check=True
    ).stdout
    assert f"image: ghcr.io/someone/vitrine@{DIGEST}\n" in rendered
    assert "image: other:1\n" in rendered


@pytest.mark.parametrize(
    ("overlay", "image", "words"),
    [
        ("tpu", f"ghcr.io/someone/vitrine@{DIGEST}", "no overlay tpu"),
        ("cpu", "ghcr.io/someone/vitrine:latest", "no image with a digest"),
        ("cpu", f"ghcr.io/someone/vitrine@{DIGEST[:-1]}", "no image with a digest"),
        ("cpu", f"x\n    newTag: y@{DIGEST}", "no image with a digest"),
    ],
)
def test_what_is_no_overlay_or_no_digest_is_refused(
    repository: Path, overlay: str, image: str, words: str
) -> None:
    result = write(repository, overlay, image)
    assert result.returncode == 1
    assert words in result.stderr
    assert not (repository / "build").exists()
