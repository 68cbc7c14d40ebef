"""Take the picture of the Overview in the docs: `python -m monitoring.grafana.picture`.

Not a screenshot of Grafana: it starts the stack on free ports, sends traffic that overloads the service for a
while, and draws the dashboard's panels from what the real Prometheus then answers to their queries.
"""

import argparse
import asyncio
import os
import random
import tempfile
import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import httpx

from monitoring.grafana.drawing import Window, draw
from monitoring.grafana.generate import DASHBOARDS
from monitoring.slo import Slo, load_slo, promql
from monitoring.stack.ports import Ports
from monitoring.stack.stack import Stack

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs/images/overview.png"
MODEL = "all-MiniLM-L6-v2"
SCALE = Decimal("0.05")

STORY = ((40, 8, 1), (25, 45, 16), (45, 8, 1))
"""Seconds, requests a second, texts in a request: calm, too much, calm."""
PROSE = "the light of a glass house falls through every wall while people inside read write and sleep"

ROWS = (
    ("Served", "Served in time", "Traffic", "Ready instances", "Alerts"),
    ("Availability", "Latency"),
    ("Requests by status", "Refused", "Saturation"),
    ("Budget burn", "Slowest stage", "Firing alerts"),
)


async def _tell(url: str) -> None:
    """Send the story's requests when they are due, whatever became of those before."""
    choose = random.Random(7)
    limits = httpx.Limits(max_connections=None)
    async with (
        httpx.AsyncClient(base_url=url, timeout=30, limits=limits) as client,
        asyncio.TaskGroup() as requests,
    ):
        due = time.monotonic()
        for seconds, rate, size in STORY:
            for _ in range(seconds * rate):
                texts = (choose.choices(PROSE.split(), k=choose.randint(5, 60)) for _ in range(size))
                body = {"model": MODEL, "input": [" ".join(words) for words in texts]}
                requests.create_task(client.post("/v1/embeddings", json=body))
                due += 1 / rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))


def _caption(slo: Slo) -> str:
    begin = STORY[0][0]
    end = begin + STORY[1][0]
    return (
        f"{MODEL} on {os.cpu_count()} shared CPU cores, overloaded from {begin} s to {end} s. "
        "Not a screenshot of Grafana: drawn by matplotlib from the real Prometheus' answers to the "
        f"dashboard's queries.\nAll windows are shrunk {round(1 / SCALE)}-fold: “last hour” is "
        f"{promql(slo.scaled(timedelta(hours=1)))}. What is left of the error budgets is not shown, since "
        "minutes say nothing about 30 days."
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=PICTURE, help="the file (default: %(default)s)")
    options = parser.parse_args()
    slo = load_slo(window_scale=SCALE)
    environment = {"APP_MODEL": str(ROOT / "models" / MODEL), **os.environ}
    with (
        tempfile.TemporaryDirectory() as folder,
        Stack(Path(folder), Ports.free(), slo, environment=environment) as stack,
    ):
        start = time.time()
        asyncio.run(_tell(stack.api_url))
        window = Window(stack.prometheus_url, start, time.time(), step=1, rate_interval="6s")
        draw(DASHBOARDS / "overview.json", ROWS, window, _caption(slo), options.out)
    print(f"{options.out}: {options.out.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
