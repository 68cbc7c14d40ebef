"""A server whose delays are known, to check the load generator with."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Answering = Callable[[int], tuple[int, float]]
"""From a request's number to its status and its delay in seconds."""


@dataclass
class Delaying:
    """What came to the server."""

    port: int = 0
    arrivals: list[float] = field(default_factory=list)
    """When each request was complete, on time.monotonic."""
    connections: int = 0


@contextmanager
def delaying(answering: Answering, *, chunked: bool = False, stall: float = 0) -> Iterator[Delaying]:
    """Answers {"n": number} with the same, after the delay; once, after 0.3 s, all of it stalls."""
    seen = Delaying()
    ready = threading.Event()
    stopping: list[Callable[[], object]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                number = json.loads(await reader.readexactly(length))["n"]
                seen.arrivals.append(time.monotonic())
                status, delay = answering(number)
                await asyncio.sleep(delay)
                reply = _reply(status, number, chunked)
                # In two packets, so that an answer has to be put together
                writer.write(reply[:-8])
                await asyncio.sleep(0.001)
                writer.write(reply[-8:])
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            writer.close()  # the client has gone, or the test ends

    async def run() -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        stopping.append(lambda: loop.call_soon_threadsafe(stopped.set))
        async with await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024) as server:
            seen.port = server.sockets[0].getsockname()[1]
            if stall:
                loop.call_later(0.3, time.sleep, stall)
            ready.set()
            await stopped.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    ready.wait()
    try:
        yield seen
    finally:
        stopping[0]()
        thread.join()


def _reply(status: int, number: int, chunked: bool) -> bytes:
    body = json.dumps({"n": number}).encode()
    head = f"HTTP/1.1 {status} So\r\ncontent-type: application/json\r\n".encode()
    if not chunked:
        return head + b"content-length: %d\r\n\r\n" % len(body) + body
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:2], body[2:]))
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
