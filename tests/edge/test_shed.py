"""An answer in the application's place is like any other to the connection and to what else runs in it."""

import gc
import time
from contextvars import copy_context

import pytest
from starlette.types import Scope

from app.edge.cycle import Answer
from app.edge.limits import EdgeLimits
from app.edge.protocol import EdgeProtocol
from tests.edge.server import Connection, Edge, wait_for

BODY = b"x" * 2**18
REFUSED = b"POST /shed HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"


class Shedding:
    """Answers `/shed`."""

    def __init__(self) -> None:
        self.answered = 0
        self.contexts: list[int] = []

    def __call__(self, scope: Scope) -> Answer | None:
        self.contexts.append(len(copy_context()))
        if scope["path"] != "/shed":
            return None
        self.answered += 1
        return Answer(429, [(b"content-length", b"%d" % len(BODY))], BODY)


def test_it_is_answered_in_its_turn_and_in_no_other_requests_context() -> None:
    shed = Shedding()
    with Edge(EdgeLimits(), shed=shed) as edge, edge.connect() as connection:
        connection.send(3 * (b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n" + REFUSED))
        assert [connection.reply().status for _ in range(6)] == 3 * [200, 429]
    assert shed.contexts == 6 * [0]


def ask_on(connection: Connection) -> None:
    for _ in range(1000):
        connection.socket.sendall(REFUSED)
        time.sleep(0.003)  # so that they do not come as one pipeline, which has a limit of its own


def test_who_does_not_read_is_not_answered_for_ever() -> None:
    shed = Shedding()
    with Edge(EdgeLimits(write_timeout=0.5), shed=shed) as edge, edge.connect() as connection:
        with pytest.raises((ConnectionError, TimeoutError)):
            ask_on(connection)
        # The kernel's buffers on both sides take some megabytes.
        assert shed.answered * len(BODY) < 64 * 2**20


def test_nothing_of_it_stays() -> None:
    shed = Shedding()
    with Edge(EdgeLimits(), shed=shed) as edge:
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                with edge.connect() as connection:
                    assert connection.ask(REFUSED).status == 429
            wait_for(lambda: edge.open_connections == 0)
            time.sleep(0.1)
            # Of the type, since `isinstance` also asks the object, and torch has one that warns then.
            assert not [one for one in gc.get_objects() if issubclass(type(one), EdgeProtocol)]
        finally:
            gc.enable()
