from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.batching import LOOKAHEAD, BatchLimits, Reason, take_batch

FOREVER = 1e9
LIMITS = BatchLimits(max_inputs=4, max_tokens=100, max_padding=10)


@dataclass(frozen=True)
class Item:
    tokens: int
    turn: int = 0
    deadline: float = FOREVER


def lengths(batch: list[Item]) -> list[int]:
    return [item.tokens for item in batch]


def test_a_free_worker_takes_a_lone_input_at_once() -> None:
    release = take_batch([Item(5)], 0.0, LIMITS)
    assert lengths(release.batch) == [5]
    assert release.reason is Reason.DRAINED


def test_takes_all_that_waits_if_it_fits() -> None:
    release = take_batch([Item(5), Item(6), Item(7)], 0.0, LIMITS)
    assert sorted(lengths(release.batch)) == [5, 6, 7]
    assert release.reason is Reason.DRAINED


def test_stops_at_the_limit_of_inputs() -> None:
    release = take_batch([Item(5)] * 6, 0.0, LIMITS)
    assert len(release.batch) == 4
    assert release.reason is Reason.MAX_INPUTS


def test_stops_at_the_limit_of_tokens_counting_padding() -> None:
    release = take_batch([Item(40), Item(38), Item(39)], 0.0, LIMITS)
    assert sorted(lengths(release.batch)) == [39, 40]
    assert release.reason is Reason.MAX_TOKENS


def test_an_input_longer_than_the_limit_runs_alone_rather_than_never() -> None:
    release = take_batch([Item(500), Item(500)], 0.0, LIMITS)
    assert lengths(release.batch) == [500]


def test_the_head_of_the_line_chooses_its_neighbours_by_length() -> None:
    release = take_batch([Item(30), Item(2), Item(31), Item(3)], 0.0, LIMITS)
    assert sorted(lengths(release.batch)) == [30, 31]
    assert release.reason is Reason.LENGTHS


def test_where_nothing_is_padded_lengths_do_not_matter() -> None:
    line = [Item(30), Item(2), Item(31), Item(3)]
    release = take_batch(line, 0.0, replace(LIMITS, max_padding=None))
    assert release.batch == line
    assert release.reason is Reason.DRAINED


def test_where_nothing_is_padded_the_real_tokens_count() -> None:
    release = take_batch([Item(60), Item(10), Item(31), Item(30)], 0.0, replace(LIMITS, max_padding=None))
    assert lengths(release.batch) == [60, 10, 30]
    assert release.reason is Reason.MAX_TOKENS


@pytest.mark.parametrize(
    ("waiting", "workers", "taken"), [(2, 2, 1), (3, 2, 2), (6, 2, 3), (7, 2, 4), (3, 9, 1)]
)
def test_free_workers_share_what_waits(waiting: int, workers: int, taken: int) -> None:
    release = take_batch([Item(5)] * waiting, 0.0, LIMITS, workers=workers)
    assert len(release.batch) == taken
    assert release.reason is (Reason.MAX_INPUTS if taken == LIMITS.max_inputs else Reason.SHARED)


def test_what_has_expired_leaves_without_a_batch() -> None:
    late, in_time = Item(5, deadline=1.0), Item(5, deadline=3.0)
    release = take_batch([late, in_time], 2.0, LIMITS)
    assert release.batch == [in_time]
    assert release.expired == [late]


def test_a_line_of_the_expired_gives_an_empty_batch() -> None:
    release = take_batch([Item(5, deadline=1.0)] * 100, 2.0, LIMITS)
    assert release.batch == []
    assert len(release.expired) == 100


items = st.builds(Item, st.integers(1, 120), deadline=st.sampled_from([0.5, FOREVER]))


@given(st.lists(items, min_size=1, max_size=80))
def test_every_release_keeps_the_limits_and_serves_the_head(line: list[Item]) -> None:
    release = take_batch(line, 1.0, LIMITS)
    batch = release.batch
    assert all(item.deadline > 1.0 for item in batch)
    assert len(batch) <= LIMITS.max_inputs
    if len(batch) > 1:
        assert max(lengths(batch)) * len(batch) <= LIMITS.max_tokens
    alive = [item for item in line if item.deadline > 1.0]
    if alive:
        assert batch[0] == alive[0]
    else:
        assert batch == []


@given(st.lists(st.integers(1, 120), min_size=1, max_size=60))
def test_an_input_waits_no_more_batches_than_inputs_stand_before_it(sizes: list[int]) -> None:
    line = [Item(size, turn) for turn, size in enumerate(sizes)]
    rounds = 0
    while line:
        release = take_batch(line, 0.0, LIMITS)
        for item in release.batch:
            assert rounds <= item.turn
            line.remove(item)
        rounds += 1


@given(st.lists(st.integers(1, 50), min_size=40, max_size=200))
def test_looks_only_so_far_down_the_line(sizes: list[int]) -> None:
    line = [Item(size, turn) for turn, size in enumerate(sizes)]
    release = take_batch(line, 0.0, LIMITS)
    assert max(item.turn for item in release.batch) < LIMITS.max_inputs * LOOKAHEAD
