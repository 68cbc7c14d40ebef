"""What may listen where somebody else is expected, and the monitoring's programs with faults."""

import json
import os
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from monitoring.stack.child import Child, program
from monitoring.stack.ports import Ports

PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>"
FAILING_RULES = """
groups:
  - name: meta
    rules:
      - {alert: Watchdog, expr: vector(1)}
      - {record: "job:up:labelled", expr: 'label_replace(up, "a", "b", "job", "(")'}
"""


@contextmanager
def http_server(
    answers: Mapping[str, tuple[int, bytes]], default: tuple[int, bytes] = (404, b"")
) -> Iterator[str]:
    """One that answers by path; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.get(self.path, default)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing to say."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def tcp_server(converse: Callable[[socket.socket], None]) -> Iterator[str]:
    """One that speaks what it likes; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection, suppress(OSError):
                        converse(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(15)
    assert not thread.is_alive()


def greets(connection: socket.socket) -> None:
    """A protocol in which the server speaks first."""
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")


def says_nothing(connection: socket.socket) -> None:
    """Takes what comes, until the other gives up."""
    while connection.recv(4096):
        pass


def drips(connection: socket.socket) -> None:
    """Never ends its answer, and never pauses for long."""
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while True:
        connection.sendall(b" ")
        time.sleep(0.05)


@contextmanager
def prometheus(
    folder: Path, scraped: Mapping[str, str], rules: str, alertmanager: str = ""
) -> Iterator["Program"]:
    """A real one that scrapes these addresses by job, every half second; `rules` are files.

    It takes five seconds to begin.
    """
    port = Ports.free().prometheus
    folder.mkdir()
    (folder / "failing.yaml").write_text(FAILING_RULES)
    config = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "400ms", "evaluation_interval": "500ms"},
        "rule_files": [rules],
        "alerting": {
            "alertmanagers": [{"static_configs": [{"targets": [alertmanager.removeprefix("http://")]}]}]
            if alertmanager
            else []
        },
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [address.removeprefix("http://")]}]}
            for job, address in scraped.items()
        ],
    }
    (folder / "config.yml").write_text(json.dumps(config))
    command = (
        program("prometheus"),
        f"--config.file={folder / 'config.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--rules.alert.resend-delay=1s",
    )
    with Child(command, folder / "prometheus.log") as child:
        yield Program(f"http://127.0.0.1:{port}", folder / "config.yml", child.pid)


@contextmanager
def alertmanager(folder: Path) -> Iterator["Program"]:
    """A real one that tells nobody."""
    port = Ports.free().alertmanager
    folder.mkdir()
    (folder / "config.yml").write_text('{"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}')
    command = (
        program("prometheus-alertmanager", "alertmanager"),
        f"--config.file={folder / 'config.yml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    )
    with Child(command, folder / "alertmanager.log") as child:
        yield Program(f"http://127.0.0.1:{port}", folder / "config.yml", child.pid)


class Program:
    """One of the two."""

    def __init__(self, url: str, config: Path, pid: int) -> None:
        self.url = url
        self._config = config
        self._pid = pid

    def settle(self) -> None:
        """Wait until a Prometheus has scraped and evaluated everything once."""
        self.until("/api/v1/targets", lambda body: b'"health":"' in body)
        for path in ("/api/v1/targets", "/api/v1/rules"):
            self.until(path, lambda body: b"success" in body and b'"health":"unknown"' not in body)

    def reload_in_vain(self) -> None:
        """Have it load a configuration that it does not understand."""
        self._config.write_text("no: configuration\n")
        self.until("/-/ready", lambda body: body)
        os.kill(self._pid, signal.SIGHUP)
        self.until("/metrics", lambda body: b"config_last_reload_successful 0" in body)

    def until(self, path: str, done: Callable[[bytes], object]) -> None:
        wait_for(f"{self.url}{path}", done)


def wait_for(url: str, done: Callable[[bytes], object]) -> None:
    """Until the address answers as hoped for."""
    give_up = time.monotonic() + 30
    while True:
        body = b""
        with suppress(OSError):
            body = urllib.request.urlopen(url, timeout=2).read()
        if done(body):
            return
        assert time.monotonic() < give_up, body[:300]
        time.sleep(0.05)
