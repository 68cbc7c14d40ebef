import json
import logging
import warnings
from collections.abc import Iterator
from io import StringIO
from typing import Any
from unittest.mock import Mock

import pytest
import structlog

from app.observer import BatchRecord, HttpRecord, RequestRecord, Stages
from app.telemetry.logs import LogObserver, configure_logs


class Log:
    def __init__(self, log_format: str = "json") -> None:
        self.stream = StringIO()
        configure_logs("info", log_format, self.stream)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def log() -> Iterator[Log]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield Log()
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    root.handlers[:], root.level = before


def exchange(
    *,
    status: int = 200,
    started: float = 100.0,
    seconds: float = 0.02,
    inference: RequestRecord | None = None,
) -> HttpRecord:
    return HttpRecord("POST", "/embed", status, "r-1", started, started + seconds, inference)


def test_one_line_tells_the_whole_request(log: Log) -> None:
    batch = BatchRecord(7, "m", "drained", 3, 30, 6, 100.002, 100.012, ())
    record = RequestRecord("r-1", "m", "embeddings", 100.0, outcome="ok", inputs=2, tokens=20)
    record.stages = Stages(100.0, 100.001, 100.002, 100.012, 100.0125)
    record.batches = [batch]
    LogObserver().http_finished(exchange(inference=record))
    (line,) = log.lines
    assert line.pop("timestamp")
    assert line == {
        "event": "request",
        "level": "info",
        "request_id": "r-1",
        "method": "POST",
        "route": "/embed",
        "status": 200,
        "duration_ms": 20.0,
        "model": "m",
        "task": "embeddings",
        "outcome": "ok",
        "inputs": 2,
        "tokens": 20,
        "tokenize_ms": 1.0,
        "queue_ms": 1.0,
        "compute_ms": 10.0,
        "respond_ms": 0.5,
        "batch_id": 7,
        "batch_size": 3,
        "batches": 1,
    }


def test_the_servers_own_failures_are_warnings_with_their_code(log: Log) -> None:
    record = RequestRecord("r-1", "m", "embeddings", 100.0, outcome="failed", error="out_of_memory")
    LogObserver().http_finished(exchange(status=500, inference=record))
    assert (log.lines[0]["level"], log.lines[0]["error"]) == ("warning", "out_of_memory")


def test_a_sample_of_what_went_well_and_all_that_did_not(log: Log) -> None:
    observer = LogObserver(sample_ratio=0.1, slow=1.0)
    for _ in range(500):
        observer.http_finished(exchange())
    for _ in range(20):
        observer.http_finished(exchange(status=413))
        observer.http_finished(exchange(status=504))
        observer.http_finished(exchange(seconds=1.5))
    well = [line for line in log.lines if line["status"] == 200 and line["duration_ms"] < 1000]
    assert 20 <= len(well) <= 100
    assert len(log.lines) - len(well) == 60
    # Nothing is unaccounted for.
    assert len(log.lines) + sum(line.get("left_out", 0) for line in log.lines) == 560


def test_a_flood_of_refusals_is_counted_rather_than_written(log: Log) -> None:
    observer = LogObserver(refusals=3)
    for second in (100.0, 101.0):
        for n in range(50):
            observer.http_finished(exchange(status=429, started=second + n / 100, seconds=0.001))
    assert len(log.lines) == 6
    observer.http_finished(exchange())
    assert sum(line.get("left_out", 0) for line in log.lines) == 94


def test_all_is_logged_unless_asked_otherwise(log: Log) -> None:
    observer = LogObserver()
    for _ in range(50):
        observer.http_finished(exchange())
    assert len(log.lines) == 50
    assert not any("left_out" in line for line in log.lines)


def test_a_write_that_fails_costs_its_lines_alone(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    observer = LogObserver()
    write = log.stream.write
    monkeypatch.setattr(log.stream, "write", Mock(side_effect=OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        observer.http_finished(exchange())
    monkeypatch.setattr(log.stream, "write", write)
    observer.http_finished(exchange(status=201))
    assert [line["status"] for line in log.lines] == [201]


def test_libraries_and_warnings_go_the_same_way(log: Log) -> None:
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("this is old", DeprecationWarning, stacklevel=1)
    logging.getLogger("app.batcher").warning("batch_failed", extra={"inputs": 3})
    library, warning, own = log.lines
    assert (library["event"], library["message"]) == ("library", "Started server process [1]")
    assert warning["event"] == "warning"
    assert "this is old" in warning["message"]
    assert (own["event"], own["inputs"], own["logger"]) == ("batch_failed", 3, "app.batcher")


def test_a_traceback_is_data_and_quotes_nobody(log: Log) -> None:
    secret = "what somebody sent"
    try:
        raise ValueError(secret)
    except ValueError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
    (line,) = log.lines
    assert line["exception"][0]["exc_type"] == "ValueError"
    assert line["exception"][0]["frames"][0]["name"] == "test_a_traceback_is_data_and_quotes_nobody"
    assert secret not in log.stream.getvalue()
