"""How long a connection waits for its client, by one timer for all that it may wait for.

Requests don't move the timer: when it is due it looks at what the connection waits for, and since when. It is
set anew only by what an ordinary request never does.
"""

import asyncio
from collections.abc import Callable

Waiting = tuple[float, Callable[[], None] | None]
"""The seconds that the present wait may last, and what to do then; None if nothing, and to look again."""


class Patience:
    """The timer of one connection. Instants are the event loop's."""

    __slots__ = ("_due", "_loop", "_timer", "_waiting", "since")

    def __init__(self, loop: asyncio.AbstractEventLoop, waiting: Callable[[], Waiting]) -> None:
        """`waiting` is asked when the timer is due."""
        self.since = 0.0
        """When the present wait began."""
        self._loop = loop
        self._waiting = waiting
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def begin(self) -> None:
        """From now on the connection waits for something new. The timer stays: it is due soon enough."""
        self.since = self._loop.time()

    def wait(self, seconds: float) -> None:
        """From now on the connection waits for something new, and may do so for `seconds`."""
        self.begin()
        if self.since + seconds < self._due or self._timer is None:
            self.look_in(seconds)

    def look_in(self, seconds: float) -> None:
        """The timer is due in so many seconds, whatever it was before."""
        self._cancel()
        self._due = self._loop.time() + seconds
        self._timer = self._loop.call_later(seconds, self._look)

    def end(self) -> None:
        """The connection is lost: let go of it, so that the two don't hold each other."""
        self._cancel()
        self._waiting = _nothing

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Act on what has been waited for too long, or look again when it will have."""
        self._timer = None
        seconds, act = self._waiting()
        left = self.since + seconds - self._loop.time()
        if act is None:
            self.look_in(seconds)
        elif left > 0:
            self.look_in(left)
        else:
            act()


def _nothing() -> Waiting:
    return 0.0, lambda: None
