"""Everything builds, and is what the API servers of four versions take."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.manifests.kustomize import APPLIED, COMPONENTS, ROOT, build, distinct, kustomize
from tests.manifests.objects import called

FOLDERS = sorted(
    path.parent.relative_to(ROOT)
    for path in [ROOT / "kustomization.yaml", *ROOT.glob("k8s/**/kustomization.yaml")]
    if yaml.safe_load(path.read_text())["kind"] == "Kustomization"
)
VERSIONS = ("1.34", "1.35", "1.36", "1.37")
WITHOUT_SCHEMA = frozenset({"HTTPRoute", "ScaledObject", "TriggerAuthentication"})
"""Of custom resources, Kubernetes has none; what they lead to is the policies' affair."""


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_each_folder_builds(folder: str) -> None:
    assert kustomize(ROOT / folder)


def test_the_root_is_the_cpu_overlay_and_the_monitoring() -> None:
    parts = [*yaml.safe_load_all(kustomize(ROOT / "k8s/overlays/cpu"))]
    parts += yaml.safe_load_all(kustomize(ROOT / "k8s/monitoring"))
    assert sorted(map(called, build("."))) == sorted(map(called, parts))


def test_a_changed_config_rolls_its_pods() -> None:
    generated = [found for found in build(".") if found["kind"] == "ConfigMap"]
    assert generated
    for found in generated:
        name, _, suffix = found["metadata"]["name"].rpartition("-")
        assert (len(suffix), bool(name)) == (10, True)  # kustomize's hash of the content


def test_kubectl_can_keep_what_it_applied() -> None:
    """It writes each object whole into an annotation of 256 KiB at most."""
    assert max(len(json.dumps(found)) for applied in APPLIED for found in build(applied)) < 250_000


def test_components_are_what_they_are_said_to_be() -> None:
    for name in COMPONENTS:
        content = yaml.safe_load((ROOT / "k8s/components" / name / "kustomization.yaml").read_text())
        assert content["kind"] == "Component"


@pytest.fixture(scope="module", autouse=True)
def _schemas_are_read_once() -> Iterator[None]:
    utils = kubernetes_validate.utils
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "schema_contents", cache(utils.schema_contents))
        yield


@pytest.mark.parametrize("version", VERSIONS)
def test_the_api_server_knows_every_field(version: str) -> None:
    seen = set()
    for found in distinct():
        if found["kind"] not in WITHOUT_SCHEMA:
            kubernetes_validate.validate(found, version, strict=True)
            seen.add(found["kind"])
    assert {"Deployment", "StatefulSet", "NetworkPolicy", "PodDisruptionBudget", "Role"} <= seen


@pytest.mark.parametrize(
    ("field", "value"), [("maxUnavailble", 1), ("minReadySeconds", "soon")], ids=["unknown", "wrong"]
)
@pytest.mark.parametrize("version", VERSIONS)
def test_it_would_notice(version: str, field: str, value: Any) -> None:
    (deployment,) = (found for found in build(".") if called(found) == "Deployment vitrine/vitrine")
    deployment["spec"][field] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, version, strict=True)
