import math

import pytest

from app.admission import SHED_FOR, Admission, AdmissionLimits
from app.errors import DeadlineExceeded, Overloaded, RequestTooLarge

LIMITS = AdmissionLimits(max_request_inputs=10, max_inputs=20, max_tokens=1000, max_bytes=4000, max_wait=2.0)
LONGEST = 128


class Line:
    """What the batcher would say, at 100 tokens a second."""

    tokens = 0

    def ahead_of(self, tokens: int) -> tuple[int, int]:
        return self.tokens, 1

    def predict(self, tokens: int, inputs: int) -> float:
        return tokens / 100


@pytest.fixture
def line() -> Line:
    return Line()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admission(line: Line, clock: Clock) -> Admission:
    return Admission(LIMITS, ahead_of=line.ahead_of, predict=line.predict, clock=clock)


def test_permits_are_given_back_however_the_block_ends(admission: Admission) -> None:
    permit = admission.admit([40, 40], LONGEST, 10.0)
    permit.counted(9)
    assert (admission.inputs, admission.tokens, admission.size) == (2, 9, 80)
    with pytest.raises(ZeroDivisionError), permit:
        raise ZeroDivisionError
    assert (admission.inputs, admission.tokens, admission.size) == (0, 0, 0)


@pytest.mark.parametrize(
    ("sizes", "named"), [([4] * 11, "11 inputs"), ([5000], "bytes"), ([480] * 9, "tokens|bytes")]
)
def test_a_request_too_large_for_an_empty_server_is_told_to_split(
    admission: Admission, sizes: list[int], named: str
) -> None:
    with pytest.raises(RequestTooLarge, match=named):
        admission.admit(sizes, LONGEST, 100.0)


def test_a_long_text_counts_as_what_the_model_reads_of_it(admission: Admission) -> None:
    with admission.admit([3900], LONGEST, 100.0) as permit:
        assert permit.tokens == LONGEST


@pytest.mark.parametrize(
    ("sizes", "reason"), [([4] * 10, "queue_inputs"), ([450] * 3, "queue_tokens"), ([3900], "queue_bytes")]
)
def test_a_full_server_refuses_and_says_what_is_full(
    admission: Admission, sizes: list[int], reason: str
) -> None:
    admission.admit([200] * 2, LONGEST, 100.0)
    admission.admit([4] * 9, LONGEST, 100.0)
    admission.tokens += 600
    with pytest.raises(Overloaded) as caught:
        admission.admit(sizes, LONGEST, 100.0)
    assert caught.value.reason == reason
    assert caught.value.retry_after >= 1
    assert caught.value.retry_after == math.ceil(caught.value.retry_after)


def test_refuses_when_the_wait_would_be_too_long_and_says_when_it_will_not_be(
    admission: Admission, line: Line
) -> None:
    admission.admit([4], LONGEST, 10.0)
    line.tokens = 190
    admission.admit([4], LONGEST, 10.0)
    line.tokens = 600
    with pytest.raises(Overloaded) as caught:
        admission.admit([4], LONGEST, 10.0)
    assert caught.value.reason == "wait"
    assert caught.value.retry_after == 4


def test_refuses_what_would_not_be_done_by_its_own_deadline(admission: Admission, line: Line) -> None:
    admission.admit([4], LONGEST, 10.0)
    line.tokens = 100
    with pytest.raises(Overloaded):
        admission.admit([4], LONGEST, 0.5)


def test_learns_from_predictions_that_were_too_good(admission: Admission, line: Line, clock: Clock) -> None:
    admission.admit([4], LONGEST, 10.0)
    line.tokens = 100
    for _ in range(20):
        with admission.admit([4], LONGEST, 10.0):
            clock.now += 4.0  # about one second was predicted
    with pytest.raises(Overloaded):
        admission.admit([4], LONGEST, 2.5)
    for _ in range(200):
        with admission.admit([4], LONGEST, 10.0):
            clock.now += 0.5
    admission.admit([4], LONGEST, 2.0)


def test_short_requests_that_take_a_little_longer_close_no_doors(
    admission: Admission, line: Line, clock: Clock
) -> None:
    admission.admit([4], LONGEST, 10.0)
    for _ in range(100):
        with admission.admit([4], LONGEST, 10.0):
            clock.now += 2.0  # a hundred times the 0.02 s that were predicted
    line.tokens = 150
    admission.admit([4], LONGEST, 10.0)


def test_a_request_that_alone_takes_longer_than_its_deadline_is_told_so(admission: Admission) -> None:
    with pytest.raises(DeadlineExceeded, match="x-request-timeout-ms"):
        admission.admit([400], LONGEST, 0.2)


def test_an_idle_server_tries_what_the_measured_speed_doubts(admission: Admission, line: Line) -> None:
    line.tokens = 10_000
    admission.admit([4], LONGEST, 10.0)


def test_sheds_when_not_even_the_smallest_would_get_in(
    admission: Admission, line: Line, clock: Clock
) -> None:
    assert admission.shed() is None
    admission.admit([40], LONGEST, 10.0)
    line.tokens = 199
    assert admission.shed() is None
    line.tokens = 400
    refusal = admission.shed()
    assert refusal is not None
    assert (refusal.reason, refusal.retry_after) == ("wait", 2)
    # Found once, it holds for a moment, and no longer.
    line.tokens = 0
    assert admission.shed() is refusal
    clock.now += SHED_FOR
    assert admission.shed() is None


def test_sheds_when_the_limits_are_reached(admission: Admission) -> None:
    for _ in range(LIMITS.max_inputs):
        admission.admit([4], LONGEST, 10.0)
    refusal = admission.shed()
    assert refusal is not None
    assert refusal.reason == "queue_inputs"
