"""The service in a living cluster, under load while it changes: nothing that it was asked may fail.

`make kind-up` makes such a cluster; `make kind-e2e` runs this over any that KUBECONFIG names.
"""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster import LOAD_NAMESPACE, NAMESPACE, Load, get, kubectl, running_pods, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]

LIGHT, HEAVY = 4, 64
"""Connections: the first leaves the pods idle at times, the second saturates those of the beginning."""


@pytest.fixture(scope="module", autouse=True)
def deployed(request: pytest.FixtureRequest) -> Iterator[None]:
    if "e2e" not in request.config.getoption("markexpr"):
        pytest.skip("It changes the cluster that KUBECONFIG names, so it wants to be asked for: -m e2e")
    kubectl("rollout", "status", "deployment/vitrine", "-n", NAMESPACE, "--timeout=10m")
    yield
    kubectl("delete", "namespace", LOAD_NAMESPACE, "--ignore-not-found", "--wait=false")


def start(what: str, seconds: float, connections: int) -> Load:
    return Load(f"{what}-{uuid.uuid4().hex[:8]}", seconds, connections)


def assert_nothing_failed(account: dict[str, Any]) -> None:
    assert account["failed"] == 0, account["failures"]
    assert account["answered"] > 0


def test_the_service_answers_inside_the_cluster() -> None:
    account = start("smoke", 5, 1).wait()
    assert_nothing_failed(account)
    assert account["refused"] == 0


def test_a_pod_that_goes_takes_no_request_with_it() -> None:
    wait_until("two pods are ready", lambda: len(running_pods()) >= 2, 300)
    load = start("kill", 90, LIGHT)
    victim = running_pods()[0]
    kubectl("delete", "pod", victim, "-n", NAMESPACE, "--wait=true")
    assert victim not in running_pods()
    assert_nothing_failed(load.wait())


def test_a_new_version_takes_over_under_load() -> None:
    before = set(running_pods())
    load = start("rollout", 180, LIGHT)
    kubectl("rollout", "restart", "deployment/vitrine", "-n", NAMESPACE)
    kubectl("rollout", "status", "deployment/vitrine", "-n", NAMESPACE, "--timeout=10m")
    wait_until("the old pods are gone", lambda: not before & set(running_pods()), 120)
    assert_nothing_failed(load.wait())


def test_it_scales_up_under_load_and_down_after_it() -> None:
    least = get("hpa", "vitrine")["spec"]["minReplicas"]
    wait_until("as few pods as may be", lambda: replicas() == least, 1800)
    load = start("heavy", 240, HEAVY)
    wait_until("more pods are wanted", lambda: replicas() > least, 240)
    wait_until("more pods are ready", lambda: len(running_pods()) > least, 240)
    assert_nothing_failed(load.wait())

    # Scaling down ends pods too, so ask meanwhile.
    most = replicas()
    load = start("light", 1200, LIGHT)
    wait_until("fewer pods are wanted", lambda: replicas() < most, 1500)
    assert_nothing_failed(load.wait())
    wait_until("as few pods as may be", lambda: replicas() == least, 1800)


def replicas() -> int:
    """What the autoscaler last decided."""
    return int(get("hpa", "vitrine")["status"].get("desiredReplicas", 0))
