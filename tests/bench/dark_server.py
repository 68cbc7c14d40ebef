"""`python -m tests.bench.dark_server`: the same server telling nobody anything, to compare telemetry with."""

import os

import app.main
from app.__main__ import run_to_exit
from app.observer import FanOut

if __name__ == "__main__":
    os.environ["OTEL_SDK_DISABLED"] = "true"
    vars(app.main)["FanOut"] = lambda _observers: FanOut([])
    run_to_exit(["serve"])
