import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from app.errors import InputTooLong
from app.models.runner import Input, TextInput, TokenizedInput
from app.tokenizing import CHUNK, GATHERING, Tokenizing
from tests.fakes import FakeRunner

pytestmark = pytest.mark.anyio
LONG = "word " * 300
T = TypeVar("T")


class Turns(ThreadPoolExecutor):
    """The thread, which counts its turns and can be held in one."""

    def __init__(self, hold: threading.Event) -> None:
        super().__init__(1, initializer=hold.wait)
        self.count = 0

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        self.count += 1
        return super().submit(function, *args, **kwargs)


class CallsRunner(FakeRunner):
    """Notes the texts of each call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[str]] = []

    def tokenize(self, inputs: Sequence[Input], *, truncate: bool) -> list[TokenizedInput]:
        self.calls.append([item.text for item in inputs if isinstance(item, TextInput)])
        return super().tokenize(inputs, truncate=truncate)


@pytest.fixture
def runner() -> CallsRunner:
    return CallsRunner()


@pytest.fixture
def hold() -> threading.Event:
    return threading.Event()


@pytest.fixture
async def turns(hold: threading.Event) -> AsyncIterator[Turns]:
    with Turns(hold) as thread:
        yield thread
        hold.set()


def texts(*values: str) -> list[TextInput]:
    return [TextInput(value) for value in values]


async def test_what_comes_at_once_or_during_a_turn_shares_one(
    runner: CallsRunner, turns: Turns, hold: threading.Event
) -> None:
    tokenize = Tokenizing(runner, turns)
    requests = [asyncio.create_task(tokenize(texts("a " * n), truncate=True)) for n in range(1, 4)]
    await asyncio.sleep(0.01)
    requests += [asyncio.create_task(tokenize(texts("a " * n), truncate=n % 2 == 0)) for n in range(4, 9)]
    await asyncio.sleep(0.01)
    hold.set()
    answers = await asyncio.gather(*requests)
    assert [[item.tokens for item in items] for items in answers] == [[n] for n in range(1, 9)]
    assert turns.count == 2
    assert [len(call) for call in runner.calls] == [3, 3, 2]
    # Who comes when the thread is free again waits for nobody.
    await tokenize(texts("late"), truncate=True)
    assert turns.count == 3


@pytest.mark.parametrize(("backlog", "calls"), [(0.0, [1, 1, 1]), (0.2, [1, 1, 1]), (0.3, [3])])
async def test_where_the_line_is_long_a_turn_waits_for_more(
    runner: CallsRunner, turns: Turns, hold: threading.Event, backlog: float, calls: list[int]
) -> None:
    tokenize = Tokenizing(runner, turns, lambda: backlog)
    hold.set()
    requests = []
    for text in ("one", "two", "three"):
        requests.append(asyncio.create_task(tokenize(texts(text), truncate=True)))
        await asyncio.sleep(GATHERING / 5)
    await asyncio.gather(*requests)
    assert [len(call) for call in runner.calls] == calls


async def test_a_bad_input_fails_its_own_request_alone(
    runner: CallsRunner, turns: Turns, hold: threading.Event
) -> None:
    tokenize = Tokenizing(runner, turns)
    requests = [
        asyncio.create_task(tokenize(texts(text), truncate=False)) for text in ("first", "one", LONG, "two")
    ]
    await asyncio.sleep(0.01)
    hold.set()
    outcomes = await asyncio.gather(*requests, return_exceptions=True)
    assert isinstance(outcomes[2], InputTooLong)
    assert [type(outcome) for outcome in outcomes] == [list, list, InputTooLong, list]


async def test_who_gives_up_is_not_tokenized(
    runner: CallsRunner, turns: Turns, hold: threading.Event
) -> None:
    tokenize = Tokenizing(runner, turns)
    first = asyncio.create_task(tokenize(texts("first"), truncate=True))
    await asyncio.sleep(0.01)
    gone, last = (asyncio.create_task(tokenize(texts(text), truncate=True)) for text in ("gone", "last"))
    await asyncio.sleep(0.01)
    gone.cancel()
    await asyncio.wait({gone})
    hold.set()
    await asyncio.gather(first, last)
    assert runner.calls == [["first"], ["last"]]


async def test_a_large_request_lets_others_in_between_and_names_its_bad_input(
    runner: CallsRunner, turns: Turns, hold: threading.Event
) -> None:
    tokenize = Tokenizing(runner, turns)
    large = asyncio.create_task(tokenize(texts(*["x"] * (2 * CHUNK + 1), LONG), truncate=False))
    await asyncio.sleep(0.01)
    small = asyncio.create_task(tokenize(texts("small"), truncate=False))
    await asyncio.sleep(0.01)
    hold.set()
    await small
    assert not large.done()
    with pytest.raises(InputTooLong) as caught:
        await large
    assert caught.value.field == str(2 * CHUNK)
