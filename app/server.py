"""The process's life: listen on both ports, serve, drain on a signal, and say how it ended."""

import asyncio
import logging
import math
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from app.edge.protocol import Shed, edge_protocol
from app.errors import DrainTimedOut, SettingsInvalid
from app.health import Phase
from app.main import App

logger = logging.getLogger(__name__)

BACKLOG = 2048

OPS_DRAIN = 1.0
"""Seconds for the operations port's last replies; it closes after the API has drained."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service that listens, though its model may still be loading."""

    api_url: str
    ops_url: str
    ready: asyncio.Event
    """Set once requests are answered."""
    model: asyncio.Task[None]
    """Ends only if the model fails, with the reason: see `Lifecycle.run`."""
    api: uvicorn.Server


@asynccontextmanager
async def running(app: App) -> AsyncIterator[Service]:
    """Listen on both ports and load the model; on leaving, drain.

    Raises `SettingsInvalid` if it cannot listen there, and `DrainTimedOut`.
    """
    settings = app.settings
    api_socket = _bind("APP_HOST, APP_PORT", settings.host, settings.port)
    ops_socket = _bind("APP_OPS_HOST, APP_OPS_PORT", settings.ops_host, settings.ops_port)
    ready = asyncio.Event()
    async with AsyncExitStack() as stack:
        # Left in the reverse order: the API drains while the worker still runs; telemetry is flushed last.
        await stack.enter_async_context(app.telemetry())
        model = asyncio.create_task(app.lifecycle.run(ready), name="lifecycle")
        stack.push_async_callback(_cancelled, model)
        await stack.enter_async_context(_listening(app.ops, None, ops_socket, app, OPS_DRAIN))
        api = await stack.enter_async_context(
            _listening(app.api, app.shed, api_socket, app, settings.drain_timeout)
        )
        yield Service(_url(api_socket), _url(ops_socket), ready, model, api)


async def serve(app: App, announce: Callable[[str, str], None]) -> None:
    """Serve until SIGTERM or SIGINT, drain, and return; a second signal ends the process at once.

    `announce` is called with the API's and the operations port's addresses once requests are answered.
    Raises what `running` and `Lifecycle.run` raise.
    """
    async with running(app) as service, AsyncExitStack() as stack:
        stop = asyncio.create_task(_signalled(), name="signals")
        stack.callback(stop.cancel)
        ready = asyncio.create_task(service.ready.wait(), name="ready")
        stack.callback(ready.cancel)

        await asyncio.wait({service.model, stop, ready}, return_when=asyncio.FIRST_COMPLETED)
        if ready.done():
            announce(service.api_url, service.ops_url)
            await asyncio.wait({service.model, stop}, return_when=asyncio.FIRST_COMPLETED)
        if service.model.done():
            service.model.result()
        delay = app.settings.drain_delay
        logger.info("draining", extra={"delay": delay, "timeout": app.settings.drain_timeout})
        app.health.move(Phase.DRAINING, "the server is draining")
        # Clients that keep connections come back on new ones, which go to other pods by now.
        service.api.config.encoded_headers.append((b"connection", b"close"))
        await asyncio.wait({service.model}, timeout=delay)


def _bind(names: str, host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise SettingsInvalid(
            f"{names}: cannot listen on {host}:{port}: {error.strerror}. Choose another, or end what uses it."
        ) from None


def _url(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the process's, which has two servers."""
        yield


@asynccontextmanager
async def _listening(
    asgi: ASGIApp, shed: Shed | None, bound: socket.socket, app: App, drain_timeout: float
) -> AsyncIterator[uvicorn.Server]:
    """Accept connections; on leaving, accept no more, and wait until the open ones have their answers."""
    timeout = math.ceil(drain_timeout)
    config = uvicorn.Config(
        asgi,
        http=edge_protocol(app.settings.edge, shed),
        ws="none",
        lifespan="off",
        reset_contextvars=True,  # a request behind another in its connection would be a child of its span
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=timeout,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[bound]), name="http")
    try:
        yield server
    finally:
        started = time.monotonic()
        server.should_exit = True
        await task
        if time.monotonic() - started >= timeout:
            raise DrainTimedOut(
                f"Requests had no answer {drain_timeout:g} s after the drain began: "
                "raise APP_DRAIN_TIMEOUT, or see in the log what held them up."
            )


async def _signalled() -> None:
    """Return at the first SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    first = asyncio.Event()

    def on_signal(number: int) -> None:
        if first.is_set():
            logger.warning("second_signal", extra={"signal": signal.Signals(number).name})
            os._exit(128 + number)
        first.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    await first.wait()


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
