"""`python -m tests.bench.dark_server`: the same server telling nobody anything, to compare telemetry with."""

import os

import app.main
from app.__main__ import run_to_exit
from app.observer import BatchRecord, HttpRecord, RequestRecord
from app.telemetry.deferred import Deferred


class Untold(Deferred):
    """Does not even keep the facts."""

    def http_finished(self, record: HttpRecord) -> None: ...

    def request_finished(self, record: RequestRecord) -> None: ...

    def batch_finished(self, record: BatchRecord) -> None: ...


if __name__ == "__main__":
    os.environ["OTEL_SDK_DISABLED"] = "true"
    vars(app.main)["Deferred"] = Untold
    run_to_exit(["serve"])
