import asyncio
from contextvars import ContextVar

import pytest
from starlette.types import Receive, Scope, Send

from app.observer import HttpRecord
from app.telemetry.deferred import AT_ONCE, DELAY, MOST, Deferred
from tests.fakes import RecordingObserver

pytestmark = pytest.mark.anyio
who: ContextVar[str] = ContextVar("who", default="nobody")


class WhoseObserver(RecordingObserver):
    """Notes in whose context it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, str]] = []

    def http_finished(self, record: HttpRecord) -> None:
        super().http_finished(record)
        self.told.append((record.request_id, who.get()))


def exchange(number: int = 0) -> HttpRecord:
    return HttpRecord("POST", "/embed", 200, str(number), 0.0, 1.0, None)


@pytest.fixture
def observer() -> WhoseObserver:
    return WhoseObserver()


@pytest.fixture
def deferred(observer: WhoseObserver) -> Deferred:
    return Deferred(observer)


async def test_facts_are_told_soon_in_order_and_in_their_own_context(
    deferred: Deferred, observer: WhoseObserver
) -> None:
    async def finish(number: int) -> None:
        who.set(f"task {number}")
        deferred.http_finished(exchange(number))
        deferred.later(lambda: observer.told.append((f"after {number}", who.get())))

    await asyncio.gather(finish(1), finish(2))
    assert observer.told == []
    await asyncio.sleep(2 * DELAY)
    assert observer.told == [
        ("1", "task 1"),
        ("after 1", "task 1"),
        ("2", "task 2"),
        ("after 2", "task 2"),
    ]
    deferred.http_finished(exchange(3))
    await asyncio.sleep(2 * DELAY)
    assert observer.told[-1] == ("3", "nobody")


async def test_the_event_loop_has_its_turns_meanwhile(deferred: Deferred, observer: WhoseObserver) -> None:
    told: list[int] = []

    def look() -> None:
        told.append(len(observer.told))
        if told[-1] < 100:
            asyncio.get_running_loop().call_soon(look)

    for number in range(100):
        deferred.http_finished(exchange(number))
    look()
    await asyncio.sleep(2 * DELAY)
    assert {AT_ONCE, 2 * AT_ONCE, 100} <= set(told)


async def test_one_that_fails_does_not_keep_the_others_waiting(
    deferred: Deferred, observer: WhoseObserver
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    loop, errors = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: errors.append(context["exception"]))
    deferred.later(fail)
    deferred.http_finished(exchange(1))
    await asyncio.sleep(2 * DELAY)
    deferred.http_finished(exchange(2))
    await asyncio.sleep(2 * DELAY)
    loop.set_exception_handler(None)
    assert [number for number, _ in observer.told] == ["1", "2"]
    assert len(errors) == 1


async def test_no_more_than_so_many_wait(deferred: Deferred, observer: WhoseObserver) -> None:
    for number in range(MOST):
        assert observer.told == []
        deferred.http_finished(exchange(number))
    assert len(observer.told) == MOST


async def test_who_asks_is_answered_from_all_facts(deferred: Deferred, observer: WhoseObserver) -> None:
    seen: list[int] = []

    async def count(_scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(len(observer.exchanges))

    async def receive() -> dict[str, str]:
        return {}

    async def send(_message: object) -> None: ...

    deferred.http_finished(exchange())
    await deferred.caught_up(count)({"type": "http"}, receive, send)
    assert seen == [1]


async def test_an_observer_that_fails_costs_its_fact_alone(
    deferred: Deferred, observer: WhoseObserver
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    deferred.later(fail)
    deferred.http_finished(exchange())
    with pytest.raises(ZeroDivisionError):
        deferred.catch_up()
    deferred.catch_up()
    assert len(observer.told) == 1
