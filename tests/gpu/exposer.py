"""GpuTelemetry in a process of its own that a test asks over stdin: a command a line, a JSON line back."""

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from app.telemetry.gpu import GpuTelemetry


def main() -> None:
    logged: list[dict[str, Any]] = []

    def keep(_logger: object, level: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        logged.append({"level": level, **event})
        raise structlog.DropEvent

    structlog.configure(processors=[keep])
    telemetry = GpuTelemetry(**json.loads(sys.argv[1]))
    registry = CollectorRegistry(auto_describe=True)
    registry.register(telemetry)
    telemetry.start()

    commands: dict[str, Callable[[], object]] = {
        "metrics": lambda: generate_latest(registry).decode(),
        "openmetrics": lambda: generate_openmetrics(registry).decode(),  # type: ignore[no-untyped-call]
        "status": lambda: asdict(telemetry.status()),
        "healthy": telemetry.healthy,
        "threads": threading.active_count,
        "logs": lambda: logged,
        "close": telemetry.close,
    }
    for line in sys.stdin:
        began = time.perf_counter()
        answer = commands[line.strip()]()
        print(json.dumps({"answer": answer, "seconds": time.perf_counter() - began}), flush=True)


if __name__ == "__main__":
    main()
