"""Medians, ratios and the report, on runs that were made up."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench import results as results_module
from tests.bench.ceiling import Ceiling
from tests.bench.compare import find_knee
from tests.bench.figures import against_best, knees, of_ceiling, of_lone_forward
from tests.bench.load import Latency, Measured
from tests.bench.report import closed_section, conditions, open_section, put
from tests.bench.results import Entry, Results, Run

FLAT = Latency(0.01, 0.01, 0.01, 0.01, 0.01)
SOME = Measured(10, 1000, 1000, 1000, 1000, 0, 0, 0, {"200": 1000}, FLAT, FLAT, 0.1, 10)


def run(contender: str, number: int, load: float, ok: int, *, sent: int = 1000) -> Run:
    measured = replace(SOME, sent=sent, ok=ok, ok_in_time=ok, within_objective=ok)
    return Run(contender, number, load, measured, 0.01, 2**28)


def comparison(kind: str, runs: list[Run]) -> Results:
    settings = {
        "rounds": 2,
        "seconds": 10,
        "clients": (1, 32),
        "texts": 1000,
        "objective": 0.25,
        "tokens": {"mean": 42, "p50": 30, "longest": 256},
    }
    entries = {
        "vitrine": Entry("Vitrine", "1", "serve", start_seconds=[3.0, 4.0]),
        "slow": Entry("Slow", "2", "slow --x", start_seconds=[9.0]),
        "gone": Entry("Gone", skipped="its packages don't install"),
    }
    ceilings = [Ceiling(32, 2, rate, rate * 42, {32: rate}, 0.008, 0.02) for rate in (100.0, 200.0)]
    return Results(kind, "float32", "make bench", {"cpu": "two cores"}, settings, entries, runs, ceilings)


@pytest.fixture
def closed() -> Results:
    runs = [run("vitrine", n, load, ok) for n, ok in enumerate((900, 1800)) for load in (1, 32)]
    return comparison("closed", [*runs, *(run("slow", n, load, 450) for n in (0, 1) for load in (1, 32))])


def test_shares_of_the_ceiling_are_taken_within_a_round(closed: Results) -> None:
    # 90/s of 100/s, and 180/s of 200/s: the machine was twice as fast in the second round
    share = of_ceiling(closed, 32)
    assert (share.low, share.median, share.high) == pytest.approx((0.9, 0.9, 0.9))
    assert of_lone_forward(closed).median == pytest.approx(0.01 / 0.008)
    best, ratio = against_best(closed, 32)
    assert (best, ratio) == ("slow", 3.0)


def test_results_survive_the_file(closed: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results_module, "BUILD", tmp_path)
    closed.write()
    again = Results.read("closed", "float32")
    assert again.runs == closed.runs
    assert again.entries == closed.entries
    assert closed_section(again) == closed_section(closed)


def test_the_closed_table_says_rates_ratios_and_who_is_missing(closed: Results) -> None:
    section = closed_section(closed)
    assert "| **Vitrine** | 135 (10) | 135 (10) | 67% |" in section
    assert "| Slow | 45 (10) | 45 (10) | 0% |" in section
    assert section.index("**Vitrine**") < section.index("| Slow")
    assert "0.90 of it (0.90 to 0.90)" in section
    assert "3.00 times Slow at 1, 3.00 times Slow at 32" in section
    assert "Left out: Gone: its packages don't install." in conditions(closed)
    assert "`slow --x`" in conditions(closed)


def test_the_knee_is_the_highest_rate_that_held() -> None:
    runs = [run("vitrine", 0, 80, 800), run("vitrine", 0, 100, 995), run("vitrine", 0, 120, 900)]
    runs += [run("vitrine", 0, 200, 950, sent=2000)]
    # A slow one that holds nothing
    runs += [run("slow", 0, 50, 400)]
    results = comparison("open", runs)
    (knee,) = knees(results, "vitrine")
    assert (knee.rate, knee.goodput, knee.goodput_at_twice) == (100, 99.5, 95)
    assert knees(results, "slow") == []
    section = open_section(results)
    assert "| **Vitrine** | 100 (100 to 100) | 100 | 10 | 10 | 95 (0.95) |" in section
    assert "| Slow | none |" in section


def test_find_knee_comes_close_from_below() -> None:
    asked: list[float] = []

    def holds(rate: float) -> bool:
        asked.append(rate)
        return rate <= 87

    assert 84 <= find_knee(holds, capacity=100) <= 87
    assert len(asked) <= 9
    assert find_knee(lambda _: False, capacity=100) < 30 * 0.3


def test_a_section_goes_between_its_markers_only() -> None:
    page = "before\n<!-- a -->\nold\n<!-- end of a -->\nafter\n"
    assert put(page, "a", "new") == "before\n<!-- a -->\nnew\n<!-- end of a -->\nafter\n"
    with pytest.raises(ValueError, match="no markers for b"):
        put(page, "b", "new")
