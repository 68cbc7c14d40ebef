"""Which threads go first."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.priorities import NICENESS, step_back


def _niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="Elsewhere nothing is changed.")
@pytest.mark.parametrize("before", [0, 7, 19])
def test_a_thread_steps_back_from_where_it_is(before: int) -> None:
    # Nearer to the front than before is what only a privileged thread may go.
    def step_back_from() -> tuple[int, int]:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(before, _niceness()))
        start = _niceness()
        step_back()
        return start, _niceness()

    own = _niceness()
    with ThreadPoolExecutor(1) as thread:
        start, end = thread.submit(step_back_from).result()
    assert end == min(19, start + NICENESS)
    assert _niceness() == own


def test_a_sandbox_that_forbids_it_is_no_reason_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", forbidden)
    step_back()
