"""`python -m tests.live.fake_server`: `python -m app serve` with a model whose faults a test can choose."""

import os
from collections.abc import Sequence
from functools import partial

import app.main
from app.__main__ import run_to_exit
from app.errors import DeviceLost
from app.models.runner import Row, TokenizedInput
from tests.fakes import FakeRunner

HANG = "hang-on-this"
LOSE = "lose-the-device-on-this"


class FaultyRunner(FakeRunner):
    def run(self, batch: Sequence[TokenizedInput], *, alone: bool = False) -> list[Row]:
        if any(HANG in item.text for item in batch):
            self.hold.clear()
        if any(LOSE in item.text for item in batch):
            raise DeviceLost("The GPU fell off the bus: restart the process.")
        return super().run(batch, alone=alone)


if __name__ == "__main__":
    runner = FaultyRunner(
        start=0.001,
        per_token=float(os.environ.get("FAKE_SECONDS_PER_TOKEN", "0")),
        device=os.environ.get("FAKE_DEVICE", "cpu"),
    )
    app.main.create_app = partial(app.main.create_app, runner=runner)
    run_to_exit(["serve"])
