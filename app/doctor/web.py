"""One question to one address, with an answer or a reason in a few seconds, whatever listens there."""

import re
import socket
import ssl
from collections.abc import Collection, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from threading import Event, Timer
from typing import Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

TIMEOUT = 3.0
"""Seconds: to connect, and then for each step of the answer; the whole may take twice as long."""
LIMIT = 32 * 2**20
"""Bytes of an answer that are read."""

Content = TypeVar("Content", bound=BaseModel)


class NoAnswerError(Exception):
    """Nothing of use has come; the message says what came instead.

    `unreachable`: no connection. `silent`: a connection, on which nothing came in time. `foreign`: an answer,
    but not of the one who was asked.
    """

    def __init__(self, kind: Literal["unreachable", "silent", "foreign"], message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    url: str
    status: int
    body: bytes

    def __str__(self) -> str:
        """What it is, in a few words."""
        start = self.body[:2000].decode(errors="replace").strip()
        if start[:15].lower().startswith(("<!doctype", "<html")):
            title = re.search(r"<title>\s*(.*?)\s*</title>", start, re.IGNORECASE | re.DOTALL)
            shown = f"an HTML page{f' ({title[1][:80]})' if title else ''}"
        else:
            shown = f"{' '.join(start.split())[:120]!r}" if start else "nothing in it"
        return f"{self.url} answers {self.status} with {shown}"


def fetch(
    base: str,
    path: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """GET, or POST if there is a body, without following redirects or a proxy. Raises `NoAnswerError`."""
    parts = urlsplit(base)
    url = f"{base.rstrip('/')}{path}"
    place = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    with closing(kind(parts.hostname or "", parts.port, timeout=TIMEOUT)) as connection:
        _connect(connection, place)
        over = Event()
        timer = Timer(2 * TIMEOUT, _cut, (connection.sock, over))
        timer.start()
        try:
            connection.request(
                "GET" if body is None else "POST",
                parts.path.rstrip("/") + path or "/",
                body=body,
                headers=dict(headers or {}),
            )
            response: HTTPResponse = connection.getresponse()
            content = response.read(LIMIT)
            if over.is_set():
                raise TimeoutError
            return Reply(url, response.status, content)
        except TimeoutError:
            raise NoAnswerError("silent", f"{place} takes connections, but gives no answer in time") from None
        except (OSError, HTTPException) as error:
            if over.is_set():
                raise NoAnswerError(
                    "silent", f"{place} takes connections, but does not end its answer"
                ) from None
            raise NoAnswerError(
                "foreign", f"what listens on {place} does not speak HTTP{_hint(error)}"
            ) from None
        finally:
            timer.cancel()


def ask(
    base: str,
    path: str,
    form: type[Content],
    *,
    statuses: Collection[int] = (200,),
    headers: Mapping[str, str] | None = None,
) -> Content:
    """Fetch JSON of that form. Raises `NoAnswerError`, also if the answer is anything else."""
    reply = fetch(base, path, headers=headers)
    if reply.status not in statuses:
        raise NoAnswerError("foreign", str(reply))
    try:
        return form.model_validate_json(reply.body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        wrong = f" ({where}: {first['msg']})" if where else ""
        raise NoAnswerError("foreign", f"{reply}{wrong}") from None


def _connect(connection: HTTPConnection, place: str) -> None:
    try:
        connection.connect()
    except socket.gaierror:
        raise NoAnswerError("unreachable", f"the name in {place} does not resolve") from None
    except ConnectionRefusedError:
        raise NoAnswerError("unreachable", f"nobody listens on {place}") from None
    except TimeoutError:
        raise NoAnswerError("unreachable", f"{place} takes no connection within {TIMEOUT:g} s") from None
    except ssl.SSLError as error:
        raise NoAnswerError("foreign", f"no TLS with {place}: {error.reason or error}") from None
    except OSError as error:
        raise NoAnswerError("unreachable", f"no connection to {place}: {error.strerror or error}") from None


def _cut(connection: socket.socket, over: Event) -> None:
    over.set()
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _hint(error: Exception) -> str:
    """What the first bytes say of the protocol that is spoken instead."""
    said = str(error).strip()
    return f" (it says {said[:60]!r})" if said and isinstance(error, HTTPException) else ""
