"""Both autoscalers say the same, and what slo.yaml says."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.autoscaling.generate import MANIFESTS, generate
from monitoring.autoscaling.spec import MANIFEST, Autoscaling, Behavior, quantity, read_spec
from monitoring.slo import load_slo
from tests.monitoring.rules import run, slo_text

KUBECTL = Path(__file__).parents[2] / ".venv/bin/kubectl"
HPA = "components/autoscaling-adapter/hpa.yaml"
SCALED_OBJECT = "components/autoscaling-keda/scaled-object.yaml"
DEPLOYMENT = "base/deployment.yaml"
JAEGER = "monitoring/jaeger-config.yaml"


def _copy(folder: Path) -> Path:
    return Path(shutil.copytree(MANIFESTS, folder / "k8s"))


def _built(component: str, folder: Path) -> list[dict[str, Any]]:
    """What the component adds to a kustomization."""
    root = folder / "root"
    root.mkdir()
    _copy(folder)
    (root / "kustomization.yaml").write_text(
        f"kind: Kustomization\ncomponents: [../k8s/components/{component}]\n"
    )
    return list(yaml.safe_load_all(run(KUBECTL, "kustomize", root)))


def test_what_is_committed_is_what_is_generated(tmp_path: Path) -> None:
    manifests = _copy(tmp_path)
    generate(load_slo(), manifests)

    for name in (HPA, SCALED_OBJECT, DEPLOYMENT, JAEGER):
        assert (manifests / name).read_text() == (MANIFESTS / name).read_text()
    assert read_spec().target == load_slo().saturation.autoscaler_target


def _changed(folder: Path, old: str, new: str) -> Path:
    """The manifests when the objectives' file has `new` for `old`."""
    changed = folder / "slo.yaml"
    changed.write_text(slo_text(old, new))
    manifests = _copy(folder)
    generate(load_slo(changed), manifests)
    return manifests


def test_the_target_goes_into_both_autoscalers(tmp_path: Path) -> None:
    manifests = _changed(tmp_path, "autoscaler_target: 0.15", "autoscaler_target: 0.8")

    hpa, scaled_object = (yaml.safe_load((manifests / name).read_text()) for name in (HPA, SCALED_OBJECT))
    assert hpa["spec"]["metrics"][0]["pods"]["target"]["averageValue"] == "800m"
    assert scaled_object["spec"]["triggers"][0]["metadata"]["threshold"] == "0.8"


def test_the_latency_objective_goes_to_admission_and_the_traces_that_are_kept(tmp_path: Path) -> None:
    manifests = _changed(tmp_path, "threshold: 250ms", "threshold: 100ms")

    # The wait that saturation is measured by: 80 % of the latency objective's threshold.
    deployment = yaml.safe_load((manifests / DEPLOYMENT).read_text())
    env = {
        each["name"]: each.get("value")
        for each in deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert env["APP_ADMISSION__SLO_WAIT"] == "0.08"
    assert "threshold_ms: 100}}" in (manifests / JAEGER).read_text()


def test_a_manifest_without_a_place_for_the_target_is_named(tmp_path: Path) -> None:
    manifests = _copy(tmp_path)
    (manifests / HPA).write_text("spec: {}\n")

    with pytest.raises(ValueError, match=r"hpa\.yaml: has 0 places for averageValue"):
        generate(load_slo(), manifests)


def test_keda_makes_the_same_autoscaler() -> None:
    spec = yaml.safe_load((MANIFESTS / SCALED_OBJECT).read_text())["spec"]
    (trigger,) = spec["triggers"]

    same = Autoscaling(
        min_replicas=spec["minReplicaCount"],
        max_replicas=spec["maxReplicaCount"],
        target=quantity(trigger["metadata"]["threshold"]),
        behavior=Behavior.model_validate(spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]),
    )
    assert same == read_spec()
    assert trigger["metricType"] == "AverageValue"
    assert spec["scaleTargetRef"] == yaml.safe_load(MANIFEST.read_text())["spec"]["scaleTargetRef"]


def test_another_metric_is_not_taken_for_saturation(tmp_path: Path) -> None:
    path = tmp_path / "hpa.yaml"
    path.write_text(MANIFEST.read_text().replace("inference_saturation_ratio", "inference_queued_inputs"))

    with pytest.raises(ValueError, match="must be the Pods metric inference_saturation_ratio"):
        read_spec(path)


def test_the_adapter_may_list_the_services_pods_and_no_more(tmp_path: Path) -> None:
    objects = _built("autoscaling-adapter", tmp_path)

    (role,) = (content for content in objects if content["kind"] == "Role")
    assert role["metadata"]["namespace"] == "vitrine"
    assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    bound = {
        content["roleRef"]["name"]: content["metadata"].get("namespace")
        for content in objects
        if content["kind"].endswith("Binding")
    }
    assert bound == {
        "prometheus-adapter": "vitrine",
        "system:auth-delegator": None,
        "extension-apiserver-authentication-reader": "kube-system",
    }
    assert not [content for content in objects if content["kind"] == "ClusterRole"]


def test_the_keda_component_builds(tmp_path: Path) -> None:
    built = _built("autoscaling-keda", tmp_path)
    (scaled_object,) = (found for found in built if found["kind"] == "ScaledObject")

    assert scaled_object["kind"] == "ScaledObject"
    assert scaled_object["spec"]["triggers"][0]["metadata"]["ignoreNullValues"] == "false"
