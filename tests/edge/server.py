"""A real uvicorn server on uvloop, with the whole edge before a small application."""

import asyncio
import contextlib
import hashlib
import json
import socket
import threading
from collections.abc import Callable, Collection
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any, Self

import uvicorn
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from app.edge.auth import ApiKeyMiddleware, ApiKeys
from app.edge.body import BodyMiddleware
from app.edge.disconnect import cancel_on_disconnect
from app.edge.limits import EdgeLimits
from app.edge.protocol import Shed, edge_protocol

asked: ContextVar[str] = ContextVar("asked")
"""What is under way, as a tracer would note it."""


@dataclass
class Application:
    """What stands behind the edge: it says what it got, and keeps what a client can't see."""

    release: threading.Event = field(default_factory=threading.Event)
    events: list[str] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        asked.set(scope["path"])
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.events.append("disconnected in the body")
                return
            body += message["body"]
            more = message["more_body"]
        match scope["path"]:
            case "/wait":
                self.events.append("waiting")
                try:
                    async with cancel_on_disconnect(scope, receive):
                        while not self.release.is_set():
                            await asyncio.sleep(0.01)
                except ClientDisconnect:
                    self.events.append("client gone")
                    return
            case "/listen":
                self.events.append("listening")
                self.events.append((await receive())["type"])
                return
            case "/large":
                await reply(send, bytes(4 * 2**20))
                self.events.append("large sent")
                return
        headers = [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]]
        seen = {
            "path": scope["path"],
            "query": scope["query_string"].decode(),
            "headers": headers,
            "size": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
        }
        await reply(send, json.dumps(seen).encode())


async def reply(send: Send, body: bytes) -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error reply, whose envelope is checked on the way."""
        assert self.headers["content-type"] == "application/json"
        error = self.json()["error"]
        assert set(error) == {"message", "type", "code", "param"}
        assert error["type"] == ("server_error" if self.status >= 500 else "invalid_request_error")
        assert len(error["message"]) > 20
        return str(error["code"])


class Connection:
    """A raw client: it sends bytes, and takes replies apart one by one."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send all that the server is willing to take."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(data)

    def ask(self, data: bytes) -> Reply:
        self.send(data)
        return self.reply()

    def reply(self) -> Reply:
        head, _, self._buffer = self._until(b"\r\n\r\n").partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(": ")
            headers[name] = value
        length = int(headers.get("content-length", 0))
        while len(self._buffer) < length:
            self._receive()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return Reply(int(status.split()[1]), headers, body)

    def closed(self) -> bool:
        """Wait for the end; there must be nothing before it."""
        if self._buffer:
            return False
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._receive()
        return self._buffer

    def _receive(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(f"the server closed the connection after {self._buffer!r}")
        self._buffer += data


class Edge:
    """A server in a thread of its own."""

    def __init__(self, limits: EdgeLimits, keys: Collection[str] = (), shed: Shed | None = None) -> None:
        self.app = Application()
        stack: ASGIApp = BodyMiddleware(self.app, limits)
        if keys:
            stack = ApiKeyMiddleware(stack, ApiKeys(keys), exempt={"/livez"})
        config = uvicorn.Config(
            stack,
            port=0,
            loop="uvloop",
            http=edge_protocol(limits, shed),
            ws="none",
            lifespan="off",
            log_config=None,
            reset_contextvars=True,
            access_log=False,
            timeout_graceful_shutdown=5,
        )
        self.server = uvicorn.Server(config)
        self._connections: list[Connection] = []
        self._thread = threading.Thread(target=self.server.run)

    def __enter__(self) -> Self:
        self._thread.start()
        wait_for(lambda: self.server.started)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.app.release.set()
        self.server.should_exit = True
        self._thread.join(10)
        for connection in self._connections:
            connection.socket.close()
        assert not self._thread.is_alive()

    @property
    def open_connections(self) -> int:
        return len(self.server.server_state.connections)

    def connect(self) -> Connection:
        connection = Connection(self.server.servers[0].sockets[0].getsockname()[1])
        self._connections.append(connection)
        return connection

    def ask(self, data: bytes) -> Reply:
        """One request on a connection of its own."""
        with self.connect() as connection:
            return connection.ask(data)

    def serves(self) -> bool:
        return self.ask(b"GET /ok HTTP/1.1\r\n\r\n").status == 200


def wait_for(condition: Callable[[], bool], seconds: float = 5) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, "it did not happen in time"
        sleep(0.005)
