"""What the console costs: each request, and the event loop when somebody looks."""

import time
from collections.abc import Callable
from statistics import median

import httpx
import pytest

from app.console.rates import Rates
from app.console.ring import Ring
from app.observer import BatchRecord, HttpRecord, Observer
from tests.console.facts import NOW, Teller
from tests.fakes import FAIL
from tests.running import running

pytestmark = [pytest.mark.bench, pytest.mark.anyio]

REQUESTS = 4000


class Kept:
    """An observer that keeps the facts, to tell them again."""

    def __init__(self) -> None:
        self.calls: list[Callable[[Observer], None]] = []

    def http_finished(self, record: HttpRecord) -> None:
        self.calls.append(lambda observer: observer.http_finished(record))

    def request_finished(self, record: object) -> None:
        pass

    def batch_finished(self, record: BatchRecord) -> None:
        self.calls.append(lambda observer: observer.batch_finished(record))


@pytest.mark.parametrize("together", [1, 8])
def test_a_request_costs_less_than_ten_microseconds(together: int) -> None:
    kept = Kept()
    tell = Teller((kept,))
    for number in range(REQUESTS // together):
        ended = NOW + number / 50
        names = [f"{number}-{mate}" for mate in range(together)]
        batch = tell.batch(*names, started=ended - 0.014, seconds=0.01)
        for name in names:
            tell.answered(name, ended, 0.02, [batch])
    costs = []
    for _ in range(9):
        console: tuple[Observer, ...] = (Ring(), Rates())
        begun = time.process_time()
        for call in kept.calls:
            for observer in console:
                call(observer)
        costs.append((time.process_time() - begun) / REQUESTS * 1e6)
    print(f"\n{together} in a batch: {median(costs):.1f} us, at best {min(costs):.1f} us")
    assert min(costs) < 10


async def test_the_overview_takes_less_than_five_milliseconds_of_the_loop() -> None:
    async with running() as service:
        for number in range(40):
            await service.embed("one two three", FAIL if number % 3 == 0 else "four")
        transport = httpx.ASGITransport(service.app.ops)
        async with httpx.AsyncClient(transport=transport, base_url="http://ops") as console:
            paths = {"overview": "/", "request": "/requests.json"}
            first = (await console.get("/requests.json")).json()["requests"][0]
            paths["request"] = f"/requests/{first['request_id']}"
            costs: dict[str, list[float]] = {name: [] for name in paths}
            for _ in range(9):
                time.sleep(0.6)  # noqa: ASYNC251 - the page is made anew, and nothing else runs
                for name, path in paths.items():
                    begun = time.thread_time()
                    page = await console.get(path)
                    costs[name].append((time.thread_time() - begun) * 1e3)
                    assert page.status_code == 200
    for name, each in costs.items():
        print(f"\n{name}: {median(each):.1f} ms, at best {min(each):.1f} ms, the client in it")
        assert min(each) < 5
