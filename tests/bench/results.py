"""The file of one comparison: what was run, on what, and all that was measured, written after each step."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.ceiling import Ceiling
from tests.bench.load import BUILD, Measured


@dataclass(frozen=True)
class Run:
    """One run of load on one contender."""

    contender: str
    round: int
    load: float
    """Clients of a closed loop, or requests per second of an open one."""
    measured: Measured
    cpu_per_request: float
    """CPU seconds of all the server's processes per request that it was sent."""
    peak_bytes: int


@dataclass
class Entry:
    """What is known of a contender beside its runs."""

    title: str
    version: str = ""
    command: str = ""
    skipped: str = ""
    """Why it does not take part, if it does not."""
    start_seconds: list[float] = field(default_factory=list)
    least_cosine: float = 1.0
    """Of all the answers that were checked."""
    answers_checked: int = 0


@dataclass
class Results:
    """A comparison, whole or so far."""

    kind: str
    """closed or open."""
    dtype: str
    command: str
    """What gives it again."""
    machine: dict[str, str]
    settings: dict[str, Any]
    entries: dict[str, Entry] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    ceilings: list[Ceiling] = field(default_factory=list)

    @staticmethod
    def file(kind: str, dtype: str) -> Path:
        """Where the latest of a kind is."""
        return BUILD / f"{kind}-{dtype}.json"

    def write(self) -> None:
        """Replace the latest of its kind."""
        self.file(self.kind, self.dtype).write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, kind: str, dtype: str) -> "Results":
        """The latest of a kind. Raises FileNotFoundError."""
        found = json.loads(cls.file(kind, dtype).read_text())
        found["entries"] = {name: Entry(**entry) for name, entry in found["entries"].items()}
        found["runs"] = [
            Run(**{**run, "measured": Measured.from_dict(run["measured"])}) for run in found["runs"]
        ]
        found["ceilings"] = [Ceiling(**ceiling) for ceiling in found["ceilings"]]
        return cls(**found)

    def runs_of(self, contender: str, load: float) -> list[Run]:
        """One for each round."""
        return [run for run in self.runs if run.contender == contender and run.load == load]
