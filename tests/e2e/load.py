"""Loads a service and accounts for every request. The standard library only: it runs inside the cluster too.

usage: load.py URL SECONDS CONNECTIONS        prints one line of JSON: see `Account`

Each connection asks, waits for the answer and asks again. A refusal for overload (429) is waited out as its
Retry-After says. Whatever is neither an answer nor such a refusal is a failure, but for one case, which every
HTTP client treats so: a kept connection that the server has closed between two requests is opened anew.
"""

import http.client
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from threading import Thread
from urllib.parse import urlsplit

TIMEOUT = 30.0
LONGEST_PAUSE = 5.0
FAILURES_KEPT = 20
CLOSED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


@dataclass(slots=True)
class Account:
    """What became of the requests: seconds in `latencies`, one of them for each answer."""

    answered: int = 0
    refused: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    def fail(self, reason: str) -> None:
        """Count a failure; the reasons of the first are kept."""
        self.failed += 1
        if len(self.failures) < FAILURES_KEPT:
            self.failures.append(reason)

    def add(self, other: "Account") -> None:
        """Take in what another connection had."""
        self.answered += other.answered
        self.refused += other.refused
        self.failed += other.failed
        self.failures = (self.failures + other.failures)[:FAILURES_KEPT]
        self.latencies += other.latencies

    def report(self) -> str:
        """The account as a line of JSON, quantiles in place of the latencies."""
        ordered = sorted(self.latencies)
        summary = asdict(self)
        del summary["latencies"]
        for percent in (50, 99):
            summary[f"p{percent}"] = round(ordered[len(ordered) * percent // 100], 4) if ordered else None
        return json.dumps(summary)


def load(url: str, seconds: float, connections: int, path: str = "/embed") -> Account:
    """Ask for embeddings until the time is over, and wait for the last answers."""
    deadline = time.monotonic() + seconds
    accounts = [Account() for _ in range(connections)]
    threads = [
        Thread(target=_client, args=(urlsplit(url).netloc, path, number, deadline, account))
        for number, account in enumerate(accounts)
    ]
    for thread in threads:
        thread.start()
    total = Account()
    for thread, account in zip(threads, accounts, strict=True):
        thread.join()
        total.add(account)
    return total


def _client(netloc: str, path: str, number: int, deadline: float, account: Account) -> None:
    connection = http.client.HTTPConnection(netloc, timeout=TIMEOUT)
    asked = 0
    while time.monotonic() < deadline:
        asked += 1
        # Of different lengths, and no two the same
        body = json.dumps(
            {"inputs": f"{number} {asked} " + "glass lets you see what holds " * (asked % 16 + 1)}
        )
        started = time.monotonic()
        try:
            status, retry_after, answer = _ask(connection, path, body)
        except (OSError, http.client.HTTPException) as error:
            account.fail(f"{type(error).__name__}: {error}")
            connection.close()
            time.sleep(0.1)
            continue
        if status == 200:
            account.answered += 1
            account.latencies.append(time.monotonic() - started)
        elif status == 429:
            account.refused += 1
            time.sleep(max(0.0, min(retry_after, LONGEST_PAUSE, deadline - time.monotonic())))
        else:
            account.fail(f"{status}: {answer[:200].decode(errors='replace')}")
    connection.close()


def _ask(connection: http.client.HTTPConnection, path: str, body: str) -> tuple[int, float, bytes]:
    """Status, Retry-After in seconds and body."""
    kept = connection.sock is not None
    try:
        return _ask_once(connection, path, body)
    except CLOSED:
        connection.close()
        if not kept:
            raise
        return _ask_once(connection, path, body)


def _ask_once(connection: http.client.HTTPConnection, path: str, body: str) -> tuple[int, float, bytes]:
    connection.request("POST", path, body, {"content-type": "application/json"})
    reply = connection.getresponse()
    return reply.status, float(reply.headers.get("retry-after", 1)), reply.read()


if __name__ == "__main__":
    print(load(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])).report())
