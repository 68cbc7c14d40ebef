"""The few endpoints of the Hugging Face hub that fetching a model needs, over loopback HTTP."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

REPOSITORY = "org/name"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """Serves a folder as the repository `org/name` with one commit, on the branch main."""

    files: dict[str, bytes]
    url: str = ""
    cut_after: dict[str, int] = field(default_factory=dict)
    """By file: the connection is closed after so many bytes."""
    cuts: int = 1000
    """How often."""
    instead: dict[str, bytes] = field(default_factory=dict)
    """By file: what is sent in its place, with the right file's metadata."""
    downloads: list[tuple[str, str | None]] = field(default_factory=list)
    """Each GET of a file, with its Range header."""

    def entry(self, name: str) -> dict[str, Any]:
        content = self.files[name]
        entry: dict[str, Any] = {
            "type": "file",
            "path": name,
            "rfilename": name,
            "size": len(content),
            "oid": hashlib.sha1(content).hexdigest(),
            "blobId": hashlib.sha1(content).hexdigest(),
        }
        if name.endswith(".safetensors"):
            sha256 = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"size": len(content), "sha256": sha256, "oid": sha256, "pointerSize": 134}
        return entry


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        path = urlsplit(self.path).path
        files = f"/{REPOSITORY}/resolve/{COMMIT}/"
        if path in {f"/api/models/{REPOSITORY}/revision/{name}" for name in ("main", "v1", COMMIT)} | {
            f"/api/models/{REPOSITORY}"
        }:
            siblings = [self.hub.entry(name) for name in self.hub.files]
            self._json({"id": REPOSITORY, "modelId": REPOSITORY, "sha": COMMIT, "siblings": siblings})
        elif path == f"/api/models/{REPOSITORY}/tree/{COMMIT}":
            self._json([self.hub.entry(name) for name in self.hub.files])
        elif path.startswith(files) and (name := path.removeprefix(files)) in self.hub.files:
            self._file(name, with_body=with_body)
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _json(self, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _file(self, name: str, *, with_body: bool) -> None:
        content = self.hub.files[name]
        body = self.hub.instead.get(name, content) if with_body else content
        start = 0
        if with_body:
            wanted = self.headers.get("Range")
            self.hub.downloads.append((name, wanted))
            if wanted:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Accept-Ranges", "bytes")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if with_body:
            end = self.hub.cut_after.get(name, len(body)) if self.hub.cuts else len(body)
            self.hub.cuts -= end < len(body)
            self.wfile.write(body[start:end])
            self.close_connection = end < len(body)

    def log_message(self, *args: object) -> None:
        """Says nothing."""


@contextmanager
def fake_hub(folder: Path) -> Iterator[FakeHub]:
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    hub = FakeHub(files)
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
