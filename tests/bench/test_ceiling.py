"""The ceiling is of the same texts as the service's rate, however slow the machine."""

from collections import Counter
from collections.abc import Sequence

import pytest

from app.models.runner import Row, TextInput, TokenizedInput
from tests.bench.ceiling import batches_of, throughput
from tests.fakes import FakeRunner


class CountingRunner(FakeRunner):
    """Counts how often it has run each input."""

    def __init__(self) -> None:
        super().__init__(concurrency=2)
        self.runs: Counter[tuple[int, ...]] = Counter()

    def run(self, batch: Sequence[TokenizedInput], *, alone: bool = False) -> list[Row]:
        self.runs.update(tuple(item.ids) for item in batch)
        return []


def test_all_texts_run_equally_often_and_the_longest_come_first() -> None:
    runner = CountingRunner()
    items = runner.tokenize([TextInput("a " * length) for length in range(1, 51)], truncate=True)
    batches = batches_of(items, 8, 10_000)
    assert [len(batch) for batch in batches] == [2, 8, 8, 8, 8, 8, 8]
    assert [batch[0].tokens for batch in batches] == sorted(
        (batch[0].tokens for batch in batches), reverse=True
    )

    for seconds in (0, 0.05):
        runner.runs.clear()
        texts, tokens = throughput(runner, batches, seconds)
        assert len(runner.runs) == len(items)
        assert len(set(runner.runs.values())) == 1
        assert tokens / texts == pytest.approx(sum(item.tokens for item in items) / len(items))


def test_a_batch_that_fails_is_not_counted() -> None:
    class FailingRunner(FakeRunner):
        def run(self, batch: Sequence[TokenizedInput], *, alone: bool = False) -> list[Row]:
            raise MemoryError

    runner = FailingRunner(concurrency=2)
    items = runner.tokenize([TextInput("a")], truncate=True)
    with pytest.raises(MemoryError):
        throughput(runner, [items], 0)
