from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import DeviceLost, InferenceFailed, OutOfMemory
from app.isolation import run_isolated
from app.models.runner import Row, TokenizedInput


def item(tokens: int) -> TokenizedInput:
    return TokenizedInput([7] * tokens, [0] * tokens)


def rows(batch: Sequence[TokenizedInput]) -> list[Row]:
    return [np.array([item.tokens], np.float32) for item in batch]


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_culprits_fail_and_the_others_get_their_rows_in_order(culprits: list[bool]) -> None:
    batch = [item(n + 1) for n in range(len(culprits))]
    bad = {n + 1 for n, culprit in enumerate(culprits) if culprit}
    runs = 0

    def run(part: Sequence[TokenizedInput]) -> list[Row]:
        nonlocal runs
        runs += 1
        if any(item.tokens in bad for item in part):
            raise ValueError
        return rows(part)

    for n, result in enumerate(run_isolated(run, batch)):
        assert isinstance(result, InferenceFailed) == culprits[n]
        if not isinstance(result, InferenceFailed):
            assert result[0] == n + 1
    assert runs <= 2 * len(batch) - 1


def test_a_batch_that_does_not_fit_is_split_until_it_does() -> None:
    sizes: list[int] = []

    def run(part: Sequence[TokenizedInput]) -> list[Row]:
        tokens = sum(item.tokens for item in part)
        if tokens > 100:
            raise OutOfMemory("too much")
        sizes.append(tokens)
        return rows(part)

    results = run_isolated(run, [item(30)] * 8 + [item(200)])
    assert [isinstance(result, OutOfMemory) for result in results] == [False] * 8 + [True]
    assert max(sizes) <= 100


def test_a_lost_device_is_not_asked_again() -> None:
    runs = 0

    def run(_part: Sequence[TokenizedInput]) -> list[Row]:
        nonlocal runs
        runs += 1
        raise DeviceLost("gone")

    with pytest.raises(DeviceLost):
        run_isolated(run, [item(1)] * 8)
    assert runs == 1
