"""Clients that go, and a server that goes."""

import asyncio
from time import monotonic

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from app.edge.disconnect import EXTENSION, Client, cancel_on_disconnect
from app.edge.limits import EdgeLimits
from tests.edge.server import Edge, wait_for


def test_the_application_is_told_that_its_client_has_gone(edge: Edge) -> None:
    with edge.connect() as connection:
        connection.send(b"POST /wait HTTP/1.1\r\nContent-Length: 2\r\n\r\nab")
        wait_for(lambda: edge.app.events == ["waiting"])
    wait_for(lambda: edge.app.events == ["waiting", "client gone"])


def test_a_client_that_stays_is_answered_again_and_again(edge: Edge) -> None:
    edge.app.release.set()
    with edge.connect() as connection:
        for _ in range(3):
            assert connection.ask(b"GET /wait HTTP/1.1\r\n\r\n").status == 200
    wait_for(lambda: edge.open_connections == 0)
    assert edge.app.events == ["waiting"] * 3


def test_a_request_whose_client_goes_in_the_body_never_reaches_the_application(edge: Edge) -> None:
    with edge.connect() as connection:
        connection.send(b"POST /wait HTTP/1.1\r\nContent-Length: 9\r\n\r\nab")
        wait_for(lambda: edge.open_connections == 1)
    wait_for(lambda: edge.open_connections == 0)
    assert edge.serves()
    assert edge.app.events == []


def test_the_first_of_several_pipelined_requests_is_told_too(edge: Edge) -> None:
    with edge.connect() as connection:
        connection.send(b"GET /wait HTTP/1.1\r\n\r\nGET /ok HTTP/1.1\r\n\r\n")
        wait_for(lambda: edge.app.events == ["waiting"])
    wait_for(lambda: edge.app.events == ["waiting", "client gone"])


@pytest.mark.parametrize("behind", [0, 2])
def test_an_application_that_listens_is_told(edge: Edge, behind: int) -> None:
    with edge.connect() as connection:
        connection.send(b"GET /listen HTTP/1.1\r\n\r\n" + b"GET /ok HTTP/1.1\r\n\r\n" * behind)
        wait_for(lambda: edge.app.events == ["listening"])
    wait_for(lambda: edge.app.events == ["listening", "http.disconnect"])


@pytest.mark.anyio
async def test_under_another_server_receive_tells_of_it() -> None:
    gone = asyncio.Event()

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    asyncio.get_running_loop().call_later(0.01, gone.set)
    with pytest.raises(ClientDisconnect):
        async with cancel_on_disconnect({"type": "http"}, receive):
            await asyncio.sleep(5)
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


@pytest.mark.anyio
async def test_an_answer_in_time_leaves_no_task_behind() -> None:
    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    before = asyncio.all_tasks()
    async with cancel_on_disconnect({"type": "http"}, receive):
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


@pytest.mark.anyio
async def test_work_does_not_begin_for_a_client_that_has_gone() -> None:
    async def receive() -> Message:
        raise AssertionError

    client = Client()
    client.leave()
    with pytest.raises(ClientDisconnect):
        async with cancel_on_disconnect({"type": "http", "extensions": {EXTENSION: client}}, receive):
            pytest.fail("it began")


@pytest.mark.anyio
async def test_other_errors_and_cancellation_pass_through() -> None:
    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(TimeoutError):
        async with cancel_on_disconnect({"type": "http"}, receive):
            raise TimeoutError
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), cancel_on_disconnect({"type": "http"}, receive):
            await asyncio.sleep(5)


def test_a_shutdown_answers_complete_requests_and_closes_half_sent_ones() -> None:
    with Edge(EdgeLimits()) as edge:
        complete, half, half_body, idle = (edge.connect() for _ in range(4))
        idle.ask(b"GET /ok HTTP/1.1\r\n\r\n")
        half.send(b"GET /ok HTTP/1.1\r\nHost:")
        half_body.send(b"POST /ok HTTP/1.1\r\nContent-Length: 4\r\n\r\nab")
        complete.send(b"GET /wait HTTP/1.1\r\n\r\nGET /ok HTTP/1.1\r\n\r\n")
        wait_for(lambda: edge.app.events == ["waiting"] and edge.open_connections == 4)
        began = monotonic()
        edge.server.should_exit = True
        assert half.closed()
        assert idle.closed()
        half_body.send(b"cd")
        assert half_body.reply().json()["size"] == 4
        edge.app.release.set()
        assert complete.reply().json()["path"] == "/wait"
        assert complete.reply().json()["path"] == "/ok"
        assert complete.closed()
    assert monotonic() - began < 2


def test_a_client_that_does_not_read_does_not_hold_up_a_shutdown() -> None:
    with Edge(EdgeLimits(write_timeout=0.3)) as edge:
        connection = edge.connect()
        connection.send(b"GET /large HTTP/1.1\r\nConnection: close\r\n\r\n")
        wait_for(lambda: edge.app.events == ["large sent"])
        began = monotonic()
        edge.server.should_exit = True
        wait_for(lambda: edge.open_connections == 0, 3)
        assert monotonic() - began < 2
