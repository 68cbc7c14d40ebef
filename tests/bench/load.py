"""Load by wrk, which costs the machine little: a closed loop of clients that take texts in turn."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson


@dataclass(frozen=True)
class Measured:
    rate: float
    """Good answers per second."""
    p50: float
    p99: float
    """Seconds."""
    errors: int


def write_script(folder: Path, texts: Sequence[str]) -> Path:
    """A wrk script that posts the texts in turn to /v1/embeddings and prints what it saw."""
    bodies = [orjson.dumps({"model": "all-MiniLM-L6-v2", "input": text}).decode() for text in texts]
    script = folder / "embeddings.lua"
    script.write_text(
        'wrk.method = "POST"\n'
        'wrk.headers["content-type"] = "application/json"\n'
        "local bodies = {" + ",".join(f"[==[{body}]==]" for body in bodies) + "}\n"
        "local n = 0\n"
        "request = function() n = n % #bodies + 1; return wrk.format(nil, nil, nil, bodies[n]) end\n"
        "done = function(summary, latency)\n"
        "  local e = summary.errors\n"
        "  local errors = e.status + e.connect + e.read + e.write + e.timeout\n"
        '  print(string.format("measured %d %d %f %f %d", summary.requests, summary.duration,\n'
        "    latency:percentile(50), latency:percentile(99), errors))\n"
        "end\n"
    )
    return script


def measure(script: Path, port: int, *, clients: int, seconds: int) -> Measured:
    """Run wrk for so many seconds."""
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s", "-s", str(script)]
    run = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/v1/embeddings"], capture_output=True, text=True, check=True
    )
    found = re.search(r"measured (\d+) (\d+) ([\d.]+) ([\d.]+) (\d+)", run.stdout)
    assert found, run.stdout
    requests, microseconds, p50, p99, errors = map(float, found.groups())
    return Measured((requests - errors) / microseconds * 1e6, p50 / 1e6, p99 / 1e6, int(errors))
