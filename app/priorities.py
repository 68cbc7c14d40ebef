"""Which threads go first where more want to run than there are CPUs."""

import os
import sys
import threading
from contextlib import suppress

NICENESS = 5
"""By how much the workers step back for the event loop and the tokenizer, which are few and feed them."""


def step_back() -> None:
    """The calling thread has a smaller share of the CPUs than those that started with the same.

    Only on Linux, where that is a thread's own; elsewhere it would be the whole process's. Where a sandbox
    forbids it, the thread stays where it is.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)
