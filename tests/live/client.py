"""A lean HTTP client, so that the load costs the machine little beside the server."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def floats(self) -> NDArray[np.float32]:
        """The vector of an embedding that was asked for in JSON."""
        return np.array(self.json()["data"][0]["embedding"], np.float32)


class Connection:
    """One keep-alive connection to a server on loopback."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: Any, **headers: str) -> Reply:
        """Raises ConnectionError or IncompleteReadError if the server closes instead of answering."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self._streams
        payload = json.dumps(body).encode()
        head = {"host": "localhost", "content-type": "application/json", "content-length": str(len(payload))}
        head |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        writer.write(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + payload)
        return await self._read(reader)

    async def _read(self, reader: asyncio.StreamReader) -> Reply:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
        body = await reader.readexactly(int(headers["content-length"]))
        if headers.get("connection") == "close":
            self.close()
        return Reply(int(head[0].split()[1]), headers, body)

    def close(self) -> None:
        if self._streams:
            self._streams[1].close()
            self._streams = None


async def post_once(port: int, path: str, body: Any, **headers: str) -> Reply:
    """Post on a connection of its own."""
    connection = Connection(port)
    try:
        return await connection.post(path, body, **headers)
    finally:
        connection.close()
