import numpy as np
import pytest

from app.console.rates import SECONDS, Rates
from app.console.state import _history
from app.observer import STAGES
from tests.console.facts import NOW, Teller


@pytest.fixture
def rates() -> Rates:
    return Rates()


@pytest.fixture
def tell(rates: Rates) -> Teller:
    return Teller((rates,))


def test_requests_are_counted_by_the_second_and_by_status(rates: Rates, tell: Teller) -> None:
    for status in (200, 200, 429, 404, 499, 500, 504):
        tell.exchange("r", NOW, status=status)
    tell.exchange("r", NOW + 2)
    counts = rates.counts(NOW + 3)
    last = {name: by_second[-4:].tolist() for name, by_second in counts.items()}
    assert last["requests"] == [7, 0, 1, 0]
    assert last["overloaded"] == [1, 0, 0, 0]
    assert last["refused"] == [2, 0, 0, 0]
    assert last["failed"] == [2, 0, 0, 0]
    assert counts["requests"].sum() == 8


def test_refusals_for_overload_are_no_part_of_how_long_requests_take(rates: Rates, tell: Teller) -> None:
    tell.answered("well", seconds=1.0)
    for _ in range(100):
        tell.answered("refused", seconds=0.001, status=429)
    total = rates.quantiles(NOW)[-1]
    assert (total.stage, total.count) == ("total", 1)
    assert total.p50 == pytest.approx(1.0, rel=0.025)


@pytest.mark.parametrize("pause", [1, 59, SECONDS - 1, SECONDS, 10 * SECONDS])
def test_what_is_older_than_five_minutes_counts_no_more(rates: Rates, tell: Teller, pause: int) -> None:
    tell.answered("old", NOW)
    tell.answered("new", NOW + pause)
    expected = 2 if pause < SECONDS else 1
    assert rates.counts(NOW + pause)["requests"].sum() == expected
    assert rates.counts(NOW + pause)["requests"][-1] == 1
    assert rates.counts(NOW + 11 * SECONDS)["requests"].sum() == 0
    assert all(quantiles.p50 is None for quantiles in rates.quantiles(NOW + 12 * SECONDS))


def test_a_record_that_comes_late_counts_in_its_own_second(rates: Rates, tell: Teller) -> None:
    tell.exchange("r", NOW + 5)
    tell.exchange("r", NOW + 4)
    assert rates.counts(NOW + 5)["requests"][-2:].tolist() == [1, 1]


def test_batches_are_counted_with_what_was_in_them(rates: Rates, tell: Teller) -> None:
    tell.batch("a", "b", started=NOW, seconds=0.5, tokens=30, padding_tokens=10)
    tell.batch("c", started=NOW, seconds=0.25, tokens=7, padding_tokens=0)
    total = {name: by_second.sum() for name, by_second in rates.counts(NOW + 1).items()}
    assert (total["batches"], total["inputs"], total["tokens"], total["padding_tokens"]) == (2, 3, 37, 10)
    assert total["busy_seconds"] == 0.75
    assert (total["drained"], total["max_inputs"]) == (2, 0)


def test_quantiles_are_those_of_all_requests_within_two_and_a_half_percent(
    rates: Rates, tell: Teller
) -> None:
    seconds = np.random.default_rng(1).lognormal(-4, 1.5, 3000)
    for number, duration in enumerate(seconds):
        tell.answered("r", NOW + number / 20, float(duration))
    found = {quantiles.stage: quantiles for quantiles in rates.quantiles(NOW + 150)}
    assert set(found) == {*STAGES, "total"}
    for stage, share in {"total": 1.0, "compute": 0.5, "tokenize": 0.1}.items():
        expected = np.quantile(seconds * share, (0.5, 0.95, 0.99), method="inverted_cdf")
        quantiles = found[stage]
        assert (quantiles.p50, quantiles.p95, quantiles.p99) == pytest.approx(tuple(expected), rel=0.025)
        assert quantiles.count == 3000


@pytest.mark.parametrize(("seconds", "shown"), [(0.0, 1e-5), (1e-9, 1e-5), (1e9, 1100)])
def test_durations_out_of_range_are_at_its_ends(
    rates: Rates, tell: Teller, seconds: float, shown: float
) -> None:
    record = tell.exchange("r", NOW, seconds, inference=tell.answered("r").inference)
    assert record.inference
    for _ in range(9):
        tell.exchange("r", NOW, seconds, inference=record.inference)
    assert rates.quantiles(NOW)[-1].p50 == pytest.approx(shown, rel=0.05)


def test_a_stage_that_no_request_came_to_has_no_quantiles(rates: Rates, tell: Teller) -> None:
    tell.gave_up("r", NOW, 1)
    found = {quantiles.stage: quantiles for quantiles in rates.quantiles(NOW)}
    assert (found["compute"].count, found["compute"].p99) == (0, None)
    assert found["tokenize"].count == 1


def test_a_column_of_the_history_moves_as_a_whole(rates: Rates, tell: Teller) -> None:
    tell.exchange("first of a column", NOW, status=500)
    tell.exchange("last of it", NOW + 4, status=404)
    for seconds in range(4, SECONDS - 10):
        columns = _history(rates.counts(NOW + seconds), NOW + seconds)
        assert len(columns) == SECONDS // 5
        column = columns[-1 - seconds // 5]
        assert (column.requests, column.failed, column.refused) == (2, 1, 1)
