"""The rules and their tests one by one, and promtool, which tests them."""

import json
import os
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

Rule = dict[str, Any]


class Place(NamedTuple):
    """Where a rule stands: its file's name, its group's place in the file and its own in the group."""

    file: str
    group: int
    number: int


Rules = Mapping[Place, Rule]


@dataclass(frozen=True, eq=False)
class Case:
    """One test of a test file."""

    file: str
    settings: dict[str, Any]
    """What the file says beside its tests."""
    test: dict[str, Any]

    @property
    def rule_files(self) -> set[str]:
        """The names of the rule files that the test loads."""
        return {Path(name).name for name in self.settings["rule_files"]}


def load_rules(folder: Path) -> dict[Place, Rule]:
    """Every rule in `rules/`."""
    return {
        Place(path.name, group_number, number): rule
        for path in sorted(folder.glob("rules/*.yaml"))
        for group_number, group in enumerate(yaml.safe_load(path.read_text())["groups"])
        for number, rule in enumerate(group["rules"])
    }


def load_cases(folder: Path) -> list[Case]:
    """Every test in `tests/`."""
    cases = []
    for path in sorted(folder.glob("tests/*.yaml")):
        settings = yaml.safe_load(path.read_text())
        cases += [Case(path.name, settings, test) for test in settings.pop("tests")]
    return cases


def write(folder: Path, case: Case, rules: Rules) -> Path:
    """Write the test and these of the rules that it loads; returns the test file."""
    for part in ("rules", "tests"):
        (folder / part).mkdir(parents=True)
    for name in case.rule_files:
        groups: dict[int, list[Rule]] = defaultdict(list)
        for place in sorted(place for place in rules if place.file == name):
            groups[place.group].append(rules[place])
        named = [{"name": str(number), "rules": group} for number, group in groups.items()]
        (folder / "rules" / name).write_text(
            json.dumps({"groups": named})
        )  # JSON is YAML, and quickly written
    path = folder / "tests" / case.file
    path.write_text(json.dumps({**case.settings, "tests": [case.test]}))
    return path


def passed(tests: Sequence[Path]) -> list[bool]:
    """Whether each test file passes, all in one run of promtool.

    Raises:
        ValueError: if promtool could not read one, or a rule in it.
    """
    done = subprocess.run(
        ["promtool", "test", "rules", *tests],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"GOGC": "400"},  # a fifth less time for some memory
    )
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    verdicts = {line: following == "SUCCESS" for line, following in zip(lines, [*lines[1:], ""], strict=True)}
    named = [f"Unit Testing:  {test}" for test in tests]
    if "could not parse" in done.stderr or not set(named) <= set(verdicts):
        raise ValueError(f"promtool cannot read these tests:\n{done.stdout}{done.stderr}")
    return [verdicts[name] for name in named]
