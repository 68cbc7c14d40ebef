"""The process from start to exit code, as a supervisor sees it."""

import asyncio
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.live.client import Reply, post_once
from tests.live.conftest import Server, Start
from tests.live.fake_server import HANG, LOSE

pytestmark = [pytest.mark.live, pytest.mark.anyio]
EMBED = "/embed"


def get(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        ({}, 78, "APP_MODEL: not set"),
        (
            {"APP_MODEL": "x", "APP_PROT": "1"},
            78,
            "APP_PROT: there is no such setting; did you mean APP_PORT?",
        ),
        ({"APP_MODEL": "x", "APP_PORT": "http"}, 78, "APP_PORT='http'"),
        ({"APP_MODEL": "x", "APP_EDGE__MAX_BODY_BYTES": "-1"}, 78, "APP_EDGE__MAX_BODY_BYTES='-1'"),
        ({"APP_MODEL": "no-such-folder"}, 66, "no-such-folder"),
    ],
)
async def test_a_start_that_fails_says_why_and_what_to_do(
    start: Start, settings: dict[str, str], code: int, words: str
) -> None:
    server = start(**settings)
    assert server.wait() == code
    assert words in "".join(server.errors)
    assert words in server.termination_log.read_text()
    assert "Traceback" not in "".join(server.errors)


async def test_a_device_that_is_not_there_has_its_own_code(start: Start, minilm: Path) -> None:
    server = start(APP_MODEL=str(minilm), APP_DEVICE="cuda")
    assert server.wait() == 69
    assert "APP_DEVICE" in server.termination_log.read_text()


async def test_an_address_in_use_is_named(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = start(fake=True, APP_MODEL="fake", APP_PORT=str(taken.getsockname()[1]))
        assert server.wait() == 78
    assert "APP_PORT" in "".join(server.errors)


async def test_the_probes_follow_the_life_of_the_server(start: Start) -> None:
    server = start(fake=True, APP_MODEL="fake", APP_DRAIN_DELAY="1").wait_until_ready()
    for base in (server.url, server.ops_url):
        assert [get(f"{base}/{probe}") for probe in ("startupz", "readyz", "livez", "health")] == [200] * 4
    server.terminate()
    server.wait_for("draining")
    assert get(f"{server.ops_url}/readyz") == 503
    assert get(f"{server.ops_url}/livez") == 200
    # Routes still lead here: what comes in the delay is served, and told to go elsewhere next time.
    await asyncio.sleep(0.5)
    reply = await post_once(server.port, EMBED, {"inputs": "late"})
    assert reply.status == 200
    assert server.wait() == 0


async def test_what_is_in_flight_at_the_signal_is_answered(start: Start) -> None:
    slow = {
        "FAKE_SECONDS_PER_TOKEN": "0.005",
        "APP_BATCHING__MAX_INPUTS": "1",
        "APP_ADMISSION__MAX_WAIT": "60",
        "APP_REQUEST_TIMEOUT": "60",
    }
    server = start(fake=True, APP_MODEL="fake", **slow).wait_until_ready()
    requests = [
        asyncio.create_task(post_once(server.port, EMBED, {"inputs": f"text {n}"})) for n in range(200)
    ]
    # A connection that waits to be accepted when the listener closes is refused, and rightly.
    while await asyncio.to_thread(active_requests, server) + len(server.events("request")) < 200:
        await asyncio.sleep(0.02)
    answered = len(server.events("request"))
    server.terminate()
    replies = await asyncio.gather(*requests)
    assert {reply.status for reply in replies} == {200}
    assert server.wait() == 0
    assert answered < 200


def active_requests(server: Server) -> int:
    with urllib.request.urlopen(f"{server.ops_url}/metrics", timeout=5) as reply:
        found = re.search(r"^http_server_active_requests ([\d.]+)$", reply.read().decode(), re.MULTILINE)
    assert found
    return int(float(found[1]))


async def test_a_second_signal_ends_at_once(start: Start) -> None:
    server = start(fake=True, APP_MODEL="fake", APP_DRAIN_DELAY="60").wait_until_ready()
    server.terminate()
    server.wait_for("draining")
    started = time.monotonic()
    server.terminate()
    assert server.wait() == 128 + signal.SIGTERM
    assert time.monotonic() - started < 5


async def test_a_drain_that_takes_too_long_ends_all_the_same(start: Start) -> None:
    server = start(fake=True, APP_MODEL="fake", APP_DRAIN_TIMEOUT="1").wait_until_ready()
    hanging = asyncio.create_task(post_once(server.port, EMBED, {"inputs": HANG}))
    await asyncio.sleep(0.3)
    started = time.monotonic()
    server.terminate()
    assert server.wait() == 70
    assert time.monotonic() - started < 6
    await asyncio.wait({hanging})


@pytest.mark.parametrize(("text", "words"), [(HANG, "the worker hangs"), (LOSE, "restart the process")])
async def test_a_worker_that_is_gone_fails_its_requests_and_ends_the_process(
    start: Start, text: str, words: str
) -> None:
    server = start(fake=True, APP_MODEL="fake", APP_BATCHING__HANG_TIMEOUT="1").wait_until_ready()
    culprit = asyncio.create_task(post_once(server.port, EMBED, {"inputs": text}))
    await asyncio.sleep(0.1)
    others = [asyncio.create_task(post_once(server.port, EMBED, {"inputs": "a"})) for _ in range(5)]
    outcomes = await asyncio.gather(culprit, *others, return_exceptions=True)
    assert isinstance(outcomes[0], Reply)
    assert outcomes[0].status == 503
    assert server.wait() == 70
    assert words in server.termination_log.read_text()
