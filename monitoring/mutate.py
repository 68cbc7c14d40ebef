"""Are the rules' tests any good? Break each rule a little and see whether a test fails: `make mutate-rules`.

A mutant that no test notices must be explained in `survivors.yaml`, and the tests must notice at least 95 %.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

from monitoring.generate import PROMETHEUS
from monitoring.mutations import Rule, mutations

SURVIVORS = Path(__file__).with_name("survivors.yaml")
LOWEST_SCORE = 0.95


@dataclass(frozen=True, eq=False)
class Mutant:
    """One rule of one file, changed."""

    file: Path
    group: int
    place: int
    name: str
    change: str
    rule: Rule

    def text(self) -> str:
        """The rule file with the mutant in it."""
        content = yaml.safe_load(self.file.read_text())
        content["groups"][self.group]["rules"][self.place] = self.rule
        return yaml.safe_dump(content, width=1000)


def mutants(folder: Path) -> Iterator[Mutant]:
    """Every mutant of every rule."""
    contents = {path: yaml.safe_load(path.read_text()) for path in sorted(folder.glob("rules/*.yaml"))}
    rules = [rule for content in contents.values() for group in content["groups"] for rule in group["rules"]]
    recorded = frozenset(rule["record"] for rule in rules if "record" in rule)
    for path, content in contents.items():
        for number, group in enumerate(content["groups"]):
            for place, rule in enumerate(group["rules"]):
                for change, changed in mutations(rule, recorded):
                    yield Mutant(path, number, place, _name(rule), change.replace("{}", ""), changed)


def _name(rule: Rule) -> str:
    labels = rule.get("labels", {})
    told_apart = [labels[label] for label in ("severity", "window", "slo") if label in labels]
    return " ".join([rule.get("alert") or rule["record"], *told_apart])


def tests_of(mutant: Mutant) -> list[Path]:
    """The test files that load the mutant's rule file, the likeliest to notice first."""
    own = f"../rules/{mutant.file.name}"
    tests = [path for path in mutant.file.parents[1].glob("tests/*.yaml") if own in path.read_text()]
    window = mutant.rule.get("labels", {}).get("window", "ratios")
    alert = mutant.rule.get("alert", "slo:")

    def likely(path: Path) -> tuple[bool, bool, int]:
        return alert not in path.read_text(), f"_{window}_" not in path.name, path.stat().st_size

    return sorted(tests, key=likely)


def is_noticed(mutant: Mutant) -> bool:
    """Whether some test fails with the mutant in place of its rule."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("rules", "tests"):
            shutil.copytree(mutant.file.parents[1] / part, folder / part)
        (folder / "rules" / mutant.file.name).write_text(mutant.text())
        return any(_fails(folder / "tests" / path.name) for path in tests_of(mutant))


def _fails(test: Path) -> bool:
    result = subprocess.run(["promtool", "test", "rules", test], capture_output=True, text=True, check=False)
    output = result.stdout + result.stderr
    if "could not parse" in output:
        raise ValueError(f"the mutant is not PromQL:\n{output}")
    return result.returncode != 0


def main() -> None:
    """The command line: exits 1 if too many survive, if one has no reason, or if a reason has no survivor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rule", help="only rules whose name contains this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()

    chosen = [mutant for mutant in mutants(PROMETHEUS) if (options.rule or "") in mutant.name]
    started = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        noticed = dict(zip(chosen, pool.map(is_noticed, chosen), strict=True))
    survivors = [mutant for mutant, was_noticed in noticed.items() if not was_noticed]
    score = 1 - len(survivors) / len(chosen)

    explained = yaml.safe_load(SURVIVORS.read_text())
    reasons = {(known["rule"], known["change"]): known["reason"] for known in explained}
    unexplained = [mutant for mutant in survivors if (mutant.name, mutant.change) not in reasons]
    for mutant in survivors:
        print(f"survived  {mutant.name}: {mutant.change}")
        print(f"          {reasons.get((mutant.name, mutant.change), 'NOT EXPLAINED')}")
    alive = {(mutant.name, mutant.change) for mutant in survivors}
    outdated = [] if options.rule else [key for key in reasons if key not in alive]
    for rule, change in outdated:
        print(f"explained in {SURVIVORS.name}, yet noticed or gone: {rule}: {change}")
    alerts = [mutant for mutant in chosen if "alert" in mutant.rule]
    alerts_noticed = sum(noticed[mutant] for mutant in alerts)
    print(
        f"{len(chosen) - len(survivors)} of {len(chosen)} mutants noticed ({score:.1%}); "
        f"of the alerts' {alerts_noticed} of {len(alerts)}; {time.monotonic() - started:.0f} s"
    )
    sys.exit(score < LOWEST_SCORE or bool(unexplained) or bool(outdated))


if __name__ == "__main__":
    main()
