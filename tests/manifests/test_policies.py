"""What schemas cannot hold, of all that people apply; and that each policy finds what it is there for."""

from collections.abc import Callable, Iterator

import pytest

from tests.manifests.kustomize import APPLIED, Objects, build
from tests.manifests.policies import images, network, rights, service, wiring

Policy = Callable[[Objects], Iterator[str]]

POLICIES: list[Policy] = [
    wiring.services,
    wiring.selectors,
    wiring.targets,
    wiring.references,
    rights.restricted,
    rights.least,
    network.closed,
    network.sent,
    network.received,
    network.tokens,
    network.addresses,
    images.pinned,
    images.bounded,
    service.environment,
    service.ports,
    service.probes,
    service.drain,
    service.capacity,
]


def _name(policy: Policy) -> str:
    return policy.__name__


@pytest.mark.parametrize("policy", POLICIES, ids=_name)
@pytest.mark.parametrize("applied", APPLIED)
def test_what_is_applied_keeps(policy: Policy, applied: str) -> None:
    assert [*policy(build(applied))] == []
