import gc
import tracemalloc
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from itertools import pairwise

import pytest

from app.console.ring import FAILED, LATEST, MAX_BATCHES, MAX_MEMBERS, MINUTES, OVERLOADED, SLOWEST, Ring
from app.console.waterfall import stage_bars
from tests.console.facts import NOW, Teller, ids


@pytest.fixture
def ring() -> Ring:
    return Ring()


@pytest.fixture
def tell(ring: Ring) -> Teller:
    return Teller((ring,))


def test_the_latest_come_first_and_the_oldest_are_forgotten(ring: Ring, tell: Teller) -> None:
    for number in range(LATEST + 10):
        tell.exchange(f"r{number}")
    assert ids(ring.latest(3)) == [f"r{LATEST + 9}", f"r{LATEST + 8}", f"r{LATEST + 7}"]
    assert len(ring.latest(10**6)) == LATEST
    assert ring.find("r9") == []
    assert ids(ring.find("r10")) == ["r10"]


def test_the_slowest_of_five_minutes_are_kept_however_many_come_after(ring: Ring, tell: Teller) -> None:
    for minute in range(MINUTES + 1):
        ended = NOW + 60 * minute
        for number in range(LATEST // 2):
            tell.answered(f"quick-{minute}-{number}", ended, seconds=0.001 * (1 + number % 7))
            if number == LATEST // 4:
                tell.answered(f"slow-{minute}", ended, seconds=10 - minute)
    now = NOW + 60 * MINUTES
    assert ids(ring.slowest(MINUTES, now)) == [f"slow-{minute}" for minute in range(1, MINUTES + 1)]
    assert ids(ring.find("slow-1")) == ["slow-1"]
    assert len(ring.slowest(10**6, now)) == MINUTES * SLOWEST
    assert ring.slowest(10, now + 60 * MINUTES) == []


def test_requests_without_an_inference_are_not_among_the_slowest(ring: Ring, tell: Teller) -> None:
    tell.exchange("docs", seconds=5, method="GET", route="/docs")
    assert ring.slowest(10, NOW) == []


def test_of_refusals_for_overload_the_first_of_each_second_are_kept(ring: Ring, tell: Teller) -> None:
    tell.answered("well")
    for number in range(3 * OVERLOADED):
        tell.exchange(f"now-{number}", status=429)
    for number in range(3):
        tell.exchange(f"later-{number}", NOW + 1, status=429)
    assert [name for name in ids(ring.latest(100)) if name.startswith("now")] == [
        f"now-{number}" for number in reversed(range(OVERLOADED))
    ]
    assert len(ring.latest(100)) == 1 + OVERLOADED + 3
    assert len(ring.failed(100)) == OVERLOADED + 3


def test_a_flood_of_refusals_hides_no_failure_and_the_reverse(ring: Ring, tell: Teller) -> None:
    tell.exchange("failure", status=500)
    for number in range(2 * FAILED):
        tell.exchange(f"refusal-{number}", status=413)
    assert ids(ring.failed(10)) == [f"refusal-{2 * FAILED - 1 - n}" for n in range(9)] + ["failure"]
    for number in range(2 * FAILED):
        tell.exchange(f"failure-{number}", status=503)
    shown = ids(ring.failed(10))
    assert sum(name.startswith("refusal") for name in shown) == 5
    assert len(shown) == 10


def test_a_request_is_found_by_its_id_and_all_of_a_trace_by_the_trace(ring: Ring, tell: Teller) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    tell.answered("first", trace_id=trace)
    tell.answered("other", trace_id="f" * 32)
    tell.answered("second", trace_id=trace)
    assert ids(ring.find("first")) == ["first"]
    assert ids(ring.find(trace)) == ["second", "first"]
    assert ids(ring.find(trace.upper())) == ["second", "first"]
    assert ring.find("First") == []


def test_requests_of_one_id_are_told_apart(ring: Ring, tell: Teller) -> None:
    tell.answered("retried", seconds=1)
    tell.answered("retried", seconds=2)
    again, first = ring.find("retried")
    assert [again.seconds, first.seconds] == pytest.approx([2, 1])
    assert again.number != first.number


def test_a_request_knows_its_batches_and_their_other_members(ring: Ring, tell: Teller) -> None:
    batch = tell.batch("a", "b", started=NOW - 0.015, padding_tokens=5)
    for request_id in ("a", "b"):
        tell.answered(request_id, batches=[batch])
    tell.answered("stranger")
    found = ring.find("a")[0]
    assert found.inference
    kept = found.inference.batches[0]
    assert (kept.id, kept.reason, kept.members) == (batch.id, "drained", (("a", 1), ("b", 1)))
    assert kept.padding_ratio == pytest.approx(5 / 25)
    assert set(ring.mates(found)[batch.id]) == {"a", "b"}
    other = ring.find("b")[0]
    assert other.inference
    assert other.inference.batches[0] is kept  # one copy for all


def test_a_request_knows_what_ran_while_it_queued(ring: Ring, tell: Teller) -> None:
    tell.batch("earlier", started=NOW - 9, seconds=1)
    tell.batch("ahead", started=NOW - 2, seconds=1.5)
    tell.answered("queued", NOW, seconds=1)
    inferred = ring.find("queued")[0].inference
    assert inferred
    assert [batch.members[0][0] for batch in inferred.ahead] == ["ahead"]
    assert inferred.batches[0] not in inferred.ahead


@pytest.mark.parametrize("outcome", ["expired", "cancelled"])
def test_the_batch_that_outlasts_its_request_is_added_when_it_ends(
    ring: Ring, tell: Teller, outcome: str
) -> None:
    record = tell.gave_up("impatient", NOW, seconds=1, outcome=outcome)
    tell.gave_up("waiting", NOW, seconds=1, outcome=outcome)
    assert record.inference
    # As the batcher does it: the record first, then the observer
    record.inference.stages.compute_started = NOW - 0.4
    record.inference.stages.computed = NOW + 3
    tell.batch("impatient", started=NOW - 0.4, seconds=3.4)
    tell.batch("later", started=NOW + 3, seconds=1)

    found = ring.find("impatient")[0]
    assert found.inference
    assert [batch.finished for batch in found.inference.batches] == [NOW + 3]
    bars = {bar.name: bar for bar in stage_bars(found)}
    assert bars["compute"].seconds == pytest.approx(0.4)
    assert bars["compute"].cut
    waiting = ring.find("waiting")[0].inference
    assert waiting
    assert [batch.members[0][0] for batch in waiting.ahead] == ["impatient"]
    assert waiting.batches == []


def test_stages_fill_the_time_from_head_to_last_byte(ring: Ring, tell: Teller) -> None:
    tell.answered("whole", seconds=1.0)
    bars = stage_bars(ring.find("whole")[0])
    assert [bar.name for bar in bars] == ["receive", "tokenize", "queue", "compute", "respond", "send"]
    assert [bar.seconds for bar in bars] == [pytest.approx(n) for n in (0.1, 0.1, 0.1, 0.5, 0.1, 0.1)]
    assert not any(bar.cut for bar in bars)
    for before, bar in pairwise(bars):
        assert bar.start == pytest.approx(before.start + before.seconds)


def test_a_batch_of_many_and_a_request_in_many_batches_are_kept_in_part(ring: Ring, tell: Teller) -> None:
    members = [f"m{number}" for number in range(3 * MAX_MEMBERS)]
    batches = [tell.batch("big", *members, started=NOW - 1 + n / 100) for n in range(3 * MAX_BATCHES)]
    tell.answered("big", seconds=1, batches=batches)
    inferred = ring.find("big")[0].inference
    assert inferred
    assert (len(inferred.batches), inferred.batch_count) == (MAX_BATCHES, 3 * MAX_BATCHES)
    assert len(inferred.batches[0].members) == MAX_MEMBERS
    assert inferred.batches[0].requests == 3 * MAX_MEMBERS + 1


def test_no_context_lives_on_in_the_ring(ring: Ring) -> None:
    class Body:
        """What a request's context leads to."""

    variable: ContextVar[Body | None] = ContextVar("body", default=None)
    body = Body()
    watched = weakref.ref(body)
    token = variable.set(body)
    Teller((ring,)).answered("request")
    variable.reset(token)
    del body, token
    gc.collect()
    assert watched() is None
    assert ring.find("request")


def _ordinary(tell: Teller, number: int) -> None:
    tell.answered(f"{number:032x}", NOW + number / 100, trace_id=f"{number:032x}")


def _worst(tell: Teller, number: int) -> None:
    """As many and as full batches as are kept, none of them shared, with ids as long as they may be."""
    ended = NOW + number / 4
    mates = [f"{number}-{mate:0120}" for mate in range(MAX_MEMBERS)]
    batches = [tell.batch(*mates, started=ended - 1 + n / 100) for n in range(MAX_BATCHES)]
    tell.answered(f"{number:0128}", ended, 1, batches, status=(200, 413, 500)[number % 3])


# They print 2.3 and 51 MB. The second can't quite happen: mates are requests too, and share their batches.
@pytest.mark.parametrize(("request_of", "megabytes"), [(_ordinary, 4), (_worst, 60)])
def test_memory_is_bounded(request_of: Callable[[Teller, int], None], megabytes: int) -> None:
    ring = Ring()
    tell = Teller((ring,))
    tracemalloc.start()
    try:
        sizes = []
        for number in range(LATEST + 400):
            request_of(tell, number)
            if number in {LATEST + 300, LATEST + 399}:
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0] / 1e6)
    finally:
        tracemalloc.stop()
    print(f"{sizes[-1]:.1f} MB")
    assert sizes[-1] < megabytes
    assert sizes[-1] - sizes[0] < 0.5
