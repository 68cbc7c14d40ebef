"""Load over HTTP by load.c: closed loops of clients, and Poisson arrivals."""

import json
import struct
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import orjson

from monitoring.slo import SLO_FILE, load_slo

BUILD = Path("build/bench")
OBJECTIVE = load_slo().objectives.latency.threshold.total_seconds()
"""Seconds."""
DRAIN = 30
"""Seconds that load.c waits for what is out at the end."""


@dataclass(frozen=True)
class Latency:
    """Seconds. Quantiles are values that were measured, nothing between them."""

    mean: float
    p50: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True)
class Measured:
    """How one run of load went."""

    seconds: float
    """How long new requests were sent."""
    sent: int
    ok: int
    """Answers with status 200, late ones too."""
    ok_in_time: int
    """Those that came before `seconds` had passed."""
    within_objective: int
    """Those that came within the objective of the time when their request was due."""
    broken: int
    """Connections that broke under a request."""
    unanswered: int
    """Requests without a complete answer long after the end."""
    no_connection: int
    """Requests for which no connection could be had."""
    statuses: Mapping[str, int]
    latency: Latency
    """Of the good answers, from when the request was due."""
    lateness: Latency
    """Of the load itself: from when a request was due to when it was sent."""
    cpu_seconds: float
    """The load's own."""
    elapsed: float

    @property
    def rate(self) -> float:
        """Good answers per second."""
        return self.ok_in_time / self.seconds

    @property
    def goodput(self) -> float:
        """Answers within the objective per second."""
        return self.within_objective / self.seconds

    @property
    def errors(self) -> int:
        """Requests that got no good answer, refusals among them."""
        return self.sent - self.ok

    @property
    def refused(self) -> int:
        """Requests that were told to come later."""
        return self.statuses.get("429", 0)

    @property
    def meets_objective(self) -> bool:
        """Whether 99 of 100 requests, those without an answer counted, were answered within the objective."""
        return self.within_objective >= 0.99 * self.sent

    @classmethod
    def parse(cls, line: str) -> "Measured":
        """From load.c's line, or what `dataclasses.asdict` made of one."""
        found = json.loads(line)
        return cls.from_dict(found)

    @classmethod
    def from_dict(cls, found: dict[str, object]) -> "Measured":
        """The opposite of `dataclasses.asdict`."""
        known = {name: found[name] for name in cls.__dataclass_fields__}
        for name in ("latency", "lateness"):
            known[name] = Latency(**known[name])  # type: ignore[arg-type]
        return cls(**known)  # type: ignore[arg-type]


@cache
def program() -> Path:
    """The load generator, compiled where its source or the objective is newer."""
    source, built = Path(__file__).with_name("load.c"), BUILD.resolve() / "load"
    made_of = max(file.stat().st_mtime for file in (source, SLO_FILE))
    if not built.exists() or built.stat().st_mtime < made_of:
        built.parent.mkdir(parents=True, exist_ok=True)
        command = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", f"-DOBJECTIVE={OBJECTIVE}"]
        subprocess.run([*command, "-o", str(built), str(source), "-lm"], check=True)
    return built


def write_requests(
    file: Path, path: str, bodies: Iterable[object], headers: Mapping[str, str] | None = None
) -> Path:
    """Write POSTs of these bodies as JSON, for `closed` and `open_loop` to take in turn."""
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    with file.open("wb") as out:
        for body in bodies:
            content = orjson.dumps(body)
            head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n{more}"
            request = f"{head}content-length: {len(content)}\r\n\r\n".encode() + content
            out.write(struct.pack("=I", len(request)) + request)
    return file


def closed(
    requests: Path, port: int, *, clients: int, seconds: float, answers: Path | None = None
) -> Measured:
    """So many clients, each of which asks again as soon as it is answered."""
    return _run(port, requests, "closed", clients, seconds, answers=answers)


def open_loop(
    requests: Path, port: int, *, rate: float, seconds: float, seed: int, answers: Path | None = None
) -> Measured:
    """Requests that come when they come, `rate` per second; the same `seed` draws the same times."""
    return _run(port, requests, "open", rate, seconds, seed, answers=answers)


def arrivals(requests: Path, *, rate: float, seconds: float, seed: int) -> list[float]:
    """When the requests of such an open loop are due, in seconds from its start."""
    command = [str(program()), "0", str(requests), "arrivals", str(rate), str(seconds), str(seed)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(line) for line in run.stdout.split()]


def read_answers(file: Path) -> list[tuple[int, bytes]]:
    """The answers that were kept: the number of the request, and the body."""
    content, place, found = file.read_bytes(), 0, []
    while place < len(content):
        number, length = struct.unpack_from("=II", content, place)
        found.append((number, content[place + 8 : place + 8 + length]))
        place += 8 + length
    return found


def _run(port: int, requests: Path, *how: object, answers: Path | None) -> Measured:
    command = [str(program()), str(port), str(requests), *map(str, how)]
    if answers:
        command.append(str(answers))
    timeout = float(str(how[2])) + 2 * DRAIN
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=timeout)
    return Measured.parse(run.stdout)
