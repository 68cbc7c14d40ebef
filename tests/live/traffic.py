"""Requests that come when they come, whatever became of those before."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.live.client import Connection


class Traffic:
    """An open loop of POSTs, from the block's start to its end, when the last is answered."""

    def __init__(self, port: int, path: str, bodies: Iterator[Any], rate: float) -> None:
        self.rate = rate
        """Requests a second; may change while it runs."""
        self.statuses: Counter[int] = Counter()
        self._port = port
        self._path = path
        self._bodies = bodies
        self._idle: list[Connection] = []
        self._ending = False

    async def __aenter__(self) -> "Traffic":
        self._pacing = asyncio.create_task(self._pace())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ending = True
        await self._pacing
        for connection in self._idle:
            connection.close()

    async def _pace(self) -> None:
        due = time.monotonic()
        async with asyncio.TaskGroup() as requests:
            for body in self._bodies:
                if self._ending:
                    break
                requests.create_task(self._one(body))
                due = max(due + 1 / self.rate, time.monotonic() - 0.1)
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _one(self, body: Any) -> None:
        connection = self._idle.pop() if self._idle else Connection(self._port)
        reply = await connection.post(self._path, body)
        self._idle.append(connection)
        self.statuses[reply.status] += 1
