"""The rules and their tests as data, and the programs that judge them."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from monitoring.generate import PROMETHEUS

RULE_FILES = sorted(PROMETHEUS.glob("rules/*.yaml"))
TEST_FILES = sorted(PROMETHEUS.glob("tests/*.yaml"))
TEST_SLO = Path(__file__).with_name("slo.yaml")


@dataclass(frozen=True)
class Rule:
    file: Path
    content: dict[str, Any]

    @property
    def labels(self) -> dict[str, str]:
        labels: dict[str, str] = self.content.get("labels", {})
        return labels

    def __str__(self) -> str:
        name = self.content.get("alert") or self.content["record"]
        return "-".join(
            [name, *(self.labels[key] for key in ("severity", "window", "slo") if key in self.labels)]
        )


def _rules() -> list[Rule]:
    return [
        Rule(path, content)
        for path in RULE_FILES
        for group in yaml.safe_load(path.read_text())["groups"]
        for content in group["rules"]
    ]


RULES = _rules()
ALERTS = [rule for rule in RULES if "alert" in rule.content]
RECORDED = frozenset(rule.content["record"] for rule in RULES if "record" in rule.content)


def slo_text(old: str = "", new: str = "") -> str:
    """The objectives that tests reckon with, with one thing changed."""
    text = TEST_SLO.read_text()
    assert old in text
    return text.replace(old, new) if old else text


def run(*command: str | Path, cwd: Path | None = None, timeout: float = 300) -> str:
    """What the program says; it must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
