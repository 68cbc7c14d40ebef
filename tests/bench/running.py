"""A contender that runs: installed, started, asked until it answers rightly, ended with all its processes."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tests.bench.contenders import Contender
from tests.bench.load import BUILD
from tests.bench.processes import cpu_seconds, descendants, end, peak_bytes, resident_bytes

ROOT = Path(__file__).parents[2]
PEERS = Path(__file__).with_name("peers")
START_TIMEOUT = 240.0
ATTEMPTS = 2
"""To start: some have timeouts of a second between their own processes."""


class Unavailable(Exception):
    """A contender that can't take part, and why."""


class _NotStarted(Exception):
    """A process that did not become a server this time."""


@dataclass(frozen=True)
class Running:
    """A started contender."""

    contender: Contender
    port: int
    start_seconds: float
    """From its exec to its first good answer."""
    process: int

    def cpu_seconds(self) -> float:
        """CPU time of all its processes since they began."""
        return cpu_seconds(self._all())

    def peak_bytes(self) -> int:
        """The most memory that all its processes have had."""
        return peak_bytes(self._all())

    def resident_bytes(self) -> int:
        """The memory that all its processes have now."""
        return resident_bytes(self._all())

    def _all(self) -> set[int]:
        # All that this process started and that is alive: orphans too, and of servers there is one at a time.
        return descendants(os.getpid())


def environment_of(contender: Contender) -> Path:
    """The folder of its virtual environment."""
    return Path(sys.prefix) if contender.folder is None else ROOT / f".venv-bench-{contender.folder}"


def install(contender: Contender, model: Path) -> str:
    """Make its environment and whatever it needs; the version of its package. Raises `Unavailable`."""
    folder = environment_of(contender)
    if contender.folder is not None:
        lock = PEERS.relative_to(ROOT) / contender.folder / "requirements.lock"
        made = subprocess.run(
            ["scripts/venv.sh", folder.name, str(lock)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if made.returncode:
            raise Unavailable(f"its packages don't install: {_last_line(made.stderr)}")
    fill = partial(_fill, contender, model=model, ports=(0, 0, 0), dtype="float32")
    made_before = folder / f"prepared-{contender.name}"
    (cwd,) = fill((contender.cwd,))
    if contender.prepare and not (made_before.exists() and Path(cwd).is_dir()):
        made = subprocess.run(fill(contender.prepare), cwd=ROOT, capture_output=True, text=True, check=False)
        if made.returncode:
            raise Unavailable(f"its model can't be made: {_last_line(made.stderr)}")
        made_before.touch()
    if contender.folder is None:
        from app import __version__

        return __version__
    ask = f"import importlib.metadata as m; print(m.version({contender.package!r}))"
    return subprocess.run(
        [folder / "bin/python", "-c", ask], capture_output=True, text=True, check=True
    ).stdout.strip()


def command_of(contender: Contender, *, dtype: str) -> str:
    """How it is started, for people: variables and arguments, with the environment's folder left out."""
    settings = " ".join(f"{name}={value}" for name, value in contender.variables.items())
    words = [word.removeprefix("{bin}/").replace("{here}/", "") for word in contender.command]
    return f"{settings} {' '.join(words)}".strip().replace("{dtype}", dtype)


@contextmanager
def started(
    contender: Contender,
    model: Path,
    *,
    dtype: str,
    text: str,
    variables: Mapping[str, str],
) -> Iterator[Running]:
    """The contender, from its first good answer, to `text`, to the end of the block. Raises `Unavailable`."""
    ports = _free_ports()
    fill = partial(_fill, contender, model=model, ports=ports, dtype=dtype)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("APP_", "OTEL_", "OMP_"))
    }
    environment |= {"MODEL": str(model), "PORT": str(ports[0]), "HF_HUB_OFFLINE": "1", **variables}
    environment["PATH"] = f"{environment_of(contender)}/bin:{environment['PATH']}"
    filled = fill(tuple(contender.variables.values()))
    environment |= dict(zip(contender.variables, filled, strict=True))
    (cwd,) = fill((contender.cwd,))
    log = BUILD.resolve() / "logs" / f"{contender.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    before = descendants(os.getpid())
    for attempt in range(ATTEMPTS):
        begin = time.monotonic()
        with log.open("w") as out:
            process = subprocess.Popen(
                fill(contender.command),
                cwd=ROOT if contender.folder is None else cwd,
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _await(contender, process, ports[0], text, log)
            yield Running(contender, ports[0], time.monotonic() - begin, process.pid)
            return
        except _NotStarted as failure:
            if attempt + 1 == ATTEMPTS:
                raise Unavailable(str(failure)) from None
        finally:
            # The leader first: it may end its own in an order of its own.
            end({process.pid}, patience=20)
            process.wait()
            end(descendants(os.getpid()) - before, patience=5)


def _await(contender: Contender, process: "subprocess.Popen[bytes]", port: int, text: str, log: Path) -> None:
    body = json.dumps(contender.body(text)).encode()
    asking = Request(f"http://127.0.0.1:{port}{contender.path}", body, {"content-type": "application/json"})
    deadline = time.monotonic() + START_TIMEOUT
    said = "nothing"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise _NotStarted(f"it ended with {process.returncode}: {_last_line(log.read_text())}")
        try:
            with urlopen(asking, timeout=60) as reply:
                contender.vector(json.load(reply))
            return
        except HTTPError as error:
            said = f"{error.code} {error.read(300)!r}"
        except (URLError, OSError) as error:
            said = str(error)
        except (KeyError, TypeError, IndexError, ValueError) as error:
            said = f"an answer without a vector ({error!r})"
        time.sleep(0.1)
    raise _NotStarted(f"no good answer within {START_TIMEOUT:.0f} s, at last {said}: see {log.name}")


def _fill(
    contender: Contender, words: tuple[str, ...], *, model: Path, ports: tuple[int, int, int], dtype: str
) -> list[str]:
    known = {
        "bin": f"{environment_of(contender)}/bin",
        "here": str(PEERS / (contender.folder or "")),
        "model": str(model),
        "build": str(BUILD.resolve()),
        "dtype": dtype,
        "port": ports[0],
        "port1": ports[1],
        "port2": ports[2],
    }
    return [word.format_map(known) for word in words]


def _free_ports() -> tuple[int, int, int]:
    """Three ports in a row that nobody listens on."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        if port < 65000 and all(_is_free(port + more) for more in range(3)):
            return port, port + 1, port + 2


def _is_free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False


def _last_line(said: str) -> str:
    """The last error that a program told of, or else its last words."""
    lines = [line.strip() for line in said.splitlines() if re.search(r"\w{3}", line)]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b|ERROR", line)]
    told = errors or lines or ["no word of why"]
    return told[-1][:300]
