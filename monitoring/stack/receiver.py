"""A receiver of Alertmanager's webhooks on loopback: what a pager would be told."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Self


@dataclass(frozen=True, slots=True)
class Notification:
    """One alert of one webhook call."""

    receiver: str
    status: str
    """`firing` or `resolved`."""
    labels: dict[str, str]
    annotations: dict[str, str]

    def __str__(self) -> str:
        name, severity = self.labels["alertname"], self.labels.get("severity", "")
        return f"{self.receiver}: {name} {self.status} ({severity}) {self.annotations.get('runbook_url', '')}"


class Receiver:
    """Listens from the block's start to its end; `told` is called on a thread for each notification."""

    def __init__(self, port: int, told: Callable[[Notification], None]) -> None:
        """Raises OSError if the port is taken; 0 takes any free one."""

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                call = json.loads(self.rfile.read(int(self.headers["content-length"])))
                for alert in call["alerts"]:
                    told(
                        Notification(call["receiver"], alert["status"], alert["labels"], alert["annotations"])
                    )
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """What was told is enough."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = Thread(target=self._server.serve_forever, args=(0.1,))

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
