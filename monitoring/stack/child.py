"""A program that the stack starts, watches and ends."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

STOP_TIMEOUT = 30.0
"""Seconds; longer than the service drains by default."""
LAST_WORDS = 15
"""Lines of the log that tell why it ended."""


class StackError(Exception):
    """The stack cannot start or go on: why, and what to do."""


class Child:
    """Runs from the block's start to its end; what it says goes into a file."""

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """The environment is our own unless given."""
        self.name = log.stem
        self.log = log
        self._command = command
        self._environment = environment

    def __enter__(self) -> Self:
        """Start it."""
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # A terminal's Ctrl-C is for us, who end the children in order.
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        """Ask it to end, and kill it if it does not."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def check(self) -> None:
        """Raises `StackError` with its last words if it has ended."""
        code = self._process.poll()
        if code is not None:
            words = "\n".join(self.log.read_text(errors="replace").splitlines()[-LAST_WORDS:])
            raise StackError(f"{self.name} has ended with exit code {code}:\n{words}")


def program(*names: str) -> str:
    """The first of these programs that is installed. Raises `StackError` if none is."""
    for name in names:
        if path := shutil.which(name):
            return path
    raise StackError(f"There is no program {names[0]}: install it, on Debian or Ubuntu by `make system`.")
