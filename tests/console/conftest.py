from collections.abc import AsyncIterator

import httpx
import pytest

from tests.fakes import FakeRunner
from tests.running import Running, running, settings_for

TRACES = "http://127.0.0.1:16686/trace/{trace_id}"


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner(start=0.002)


@pytest.fixture
async def service(runner: FakeRunner) -> AsyncIterator[Running]:
    async with running(settings_for(trace_ui_url=TRACES), runner=runner) as service:
        yield service


@pytest.fixture
async def console(service: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=service.ops_url) as client:
        yield client
