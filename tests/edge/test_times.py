"""How long a connection may take, and how many there may be."""

from collections.abc import Iterator
from time import monotonic, sleep

import pytest

from app.edge.limits import EdgeLimits
from tests.edge.server import Connection, Edge, wait_for

OK = b"GET /ok HTTP/1.1\r\n\r\n"


def test_fifty_slow_connections_are_closed_and_others_served() -> None:
    with Edge(EdgeLimits(header_timeout=1)) as edge:
        connections = [edge.connect() for _ in range(50)]
        starts = (b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\n", b"\r\n", b"GET / HTTP/1.1\r\nX: ")
        for number, connection in enumerate(connections):
            connection.send(starts[number % 5])
        wait_for(lambda: edge.open_connections == 50)
        assert edge.serves()
        for number, connection in enumerate(connections):
            if number % 5:
                reply = connection.reply()
                assert (reply.status, reply.code) == (408, "header_timeout")
            assert connection.closed()
        wait_for(lambda: edge.open_connections == 0)


def test_a_trickle_of_headers_does_not_gain_time(hasty: Edge) -> None:
    assert trickle(hasty, b"GET / HTTP/1.1\r\nX: ", b"a") == (408, "header_timeout")


def test_a_trickle_after_a_first_request_does_not_gain_time(hasty: Edge) -> None:
    with hasty.connect() as connection:
        assert connection.ask(OK).status == 200
        assert trickle(hasty, b"GET / HTTP/1.1\r\nX: ", b"a", connection) == (408, "header_timeout")


def test_empty_lines_do_not_keep_an_idle_connection(hasty: Edge) -> None:
    with hasty.connect() as connection:
        assert connection.ask(OK).status == 200
        with pytest.raises(EOFError):
            trickle(hasty, b"\r\n", b"\r\n", connection)


def test_a_trickle_of_body_does_not_gain_time(hasty: Edge) -> None:
    assert trickle(hasty, b"POST / HTTP/1.1\r\nContent-Length: 900\r\n\r\n", b"a") == (408, "body_timeout")


def test_a_trickle_of_empty_chunks_does_not_gain_time(hasty: Edge) -> None:
    request = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert trickle(hasty, request, b"1\r\na\r\n") == (408, "body_timeout")


def trickle(edge: Edge, start: bytes, drop: bytes, connection: Connection | None = None) -> tuple[int, str]:
    """Send a drop every 20 ms until there is a reply."""
    connection = connection or edge.connect()
    began = monotonic()
    with connection:
        connection.send(start)
        connection.socket.settimeout(0.02)
        while monotonic() - began < 3:
            try:
                reply = connection.reply()
            except TimeoutError:
                connection.send(drop)
            else:
                return reply.status, reply.code
    pytest.fail("it went on")


def test_a_body_that_never_comes_gets_408(hasty: Edge, caplog: pytest.LogCaptureFixture) -> None:
    with hasty.connect() as connection:
        reply = connection.ask(b"POST /ok HTTP/1.1\r\nContent-Length: 5\r\n\r\nab")
        assert (reply.status, reply.code) == (408, "body_timeout")
        assert connection.closed()
    assert "http_refused" not in caplog.messages  # it came by ASGI, so that the outer layers know of it


@pytest.fixture
def patient() -> Iterator[Edge]:
    """Its connections may idle for long, and their timers have been set so."""
    limits = EdgeLimits(header_timeout=0.3, body_timeout=0.4, linger=0.2)
    with Edge(limits) as edge:
        yield edge


def test_idling_long_makes_no_later_timeout_longer(patient: Edge) -> None:
    ends = {
        b"GET /ok HTTP/1.1\r\nX: ": (408, "header_timeout"),
        b"POST /ok HTTP/1.1\r\nContent-Length: 5\r\n\r\nab": (408, "body_timeout"),
        b"POST /ok HTTP/1.1\r\nContent-Length: 9999999\r\n\r\nab": (413, "body_too_large"),
    }
    connections = [patient.connect() for _ in ends]
    assert [connection.ask(OK).status for connection in connections] == [200] * 3
    sleep(0.5)
    for connection, (request, expected) in zip(connections, ends.items(), strict=True):
        reply = connection.ask(request)
        assert (reply.status, reply.code) == expected
        assert connection.closed()


def test_idling_takes_no_time_from_a_later_body(patient: Edge) -> None:
    with patient.connect() as connection:
        for _ in range(2):
            assert connection.ask(OK).status == 200
            sleep(0.35)
            connection.send(b"POST /ok HTTP/1.1\r\nContent-Length: 5\r\n\r\nab")
            sleep(0.15)
            assert connection.ask(b"cde").json()["size"] == 5


def test_an_idle_connection_is_closed_in_its_time_and_not_before(hasty: Edge) -> None:
    with hasty.connect() as connection:
        for _ in range(3):
            assert connection.ask(OK).status == 200
            sleep(0.2)
        assert connection.ask(OK).status == 200
        answered = monotonic()
        assert connection.closed()
        assert monotonic() - answered > 0.4


def test_a_long_answer_is_waited_for(hasty: Edge) -> None:
    with hasty.connect() as connection:
        connection.send(b"GET /wait HTTP/1.1\r\n\r\nGET /ok HT")
        sleep(1)
        hasty.app.release.set()
        assert connection.reply().json()["path"] == "/wait"
        assert connection.ask(b"TP/1.1\r\n\r\n").json()["path"] == "/ok"


def test_a_client_that_does_not_read_is_cut_off(hasty: Edge) -> None:
    with hasty.connect() as connection:
        connection.send(b"GET /large HTTP/1.1\r\n\r\n" * 8)
        wait_for(lambda: hasty.open_connections == 1)
        wait_for(lambda: hasty.open_connections == 0, 2)
    assert hasty.app.events.count("large sent") < 8


def test_a_connection_over_the_limit_gets_503() -> None:
    with Edge(EdgeLimits(max_connections=3, linger=0.2)) as edge:
        busy = [edge.connect() for _ in range(3)]
        for connection in busy:
            connection.send(b"GET /wait HTTP/1.1\r\n\r\n")
        wait_for(lambda: len(edge.app.events) == 3)
        reply = edge.ask(OK)
        assert (reply.status, reply.code) == (503, "too_many_connections")
        assert int(reply.headers["retry-after"]) > 0
        edge.app.release.set()
        assert [connection.reply().status for connection in busy] == [200] * 3


def test_a_connection_over_the_limit_takes_an_idle_ones_place() -> None:
    with Edge(EdgeLimits(max_connections=3)) as edge:
        idle = [edge.connect() for _ in range(3)]
        for n in (1, 0, 2):
            assert idle[n].ask(OK).status == 200
            sleep(0.01)
        assert edge.serves()
        assert idle[1].closed()
        assert idle[0].ask(OK).status == 200


def test_the_rest_of_a_refused_body_is_awaited_so_that_the_reply_arrives(edge: Edge) -> None:
    with edge.connect() as connection:
        connection.send(b"POST /ok HTTP/1.1\r\nContent-Length: 20000000\r\n\r\n")
        for _ in range(200):
            connection.send(b"a" * 100_000)
        assert connection.reply().status == 413
        assert connection.ask(OK).status == 200


def test_a_refused_body_without_end_is_not_awaited_for_long() -> None:
    with Edge(EdgeLimits(linger=0.2)) as edge, edge.connect() as connection:
        assert connection.ask(b"POST /ok HTTP/1.1\r\nContent-Length: 20000000\r\n\r\n").status == 413
        began = monotonic()
        while edge.open_connections:
            connection.send(b"a")
            sleep(0.02)
        assert 0.1 < monotonic() - began < 3
