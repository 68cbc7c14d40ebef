"""Are the rules' tests any good? Break each rule a little and see whether a test fails: `make mutate-rules`.

A mutant that no test notices must be explained in `survivors.yaml`, and the tests must notice at least 95 %.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from monitoring.generate import PROMETHEUS
from monitoring.mutations import Mutant, mutants
from monitoring.suite import load_rules
from monitoring.trials import noticed

SURVIVORS = Path(__file__).with_name("survivors.yaml")
LOWEST_SCORE = 0.95

Reasons = Mapping[tuple[str, str], str]
"""Why no test can notice a mutant, by its rule and its change."""


def load_reasons(path: Path = SURVIVORS) -> Reasons:
    """The survivors that are explained."""
    return {(known["rule"], known["change"]): known["reason"] for known in yaml.safe_load(path.read_text())}


def problems(tried: Sequence[Mutant], survivors: Sequence[Mutant], reasons: Reasons) -> Iterator[str]:
    """What is wrong with the tests, or with the reasons: a sentence for each.

    Args:
        tried: all mutants, or those of some rules.
        survivors: those that no test noticed.
        reasons: for the survivors of the same rules.
    """
    if len(survivors) > (1 - LOWEST_SCORE) * len(tried):
        yield f"fewer than {LOWEST_SCORE:.0%} of the mutants are noticed"
    alive = {(mutant.name, mutant.change) for mutant in survivors}
    for rule, change in sorted(alive - set(reasons)):
        yield f"survived and not explained in {SURVIVORS.name}: {rule}: {change}"
    for rule, change in sorted(set(reasons) - alive):
        yield f"explained in {SURVIVORS.name}, yet noticed or gone: {rule}: {change}"


def main() -> None:
    """The command line: exits 1 if there is any problem."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rule", default="", help="only rules whose name contains this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()

    started = time.monotonic()
    tried = [mutant for mutant in mutants(load_rules(PROMETHEUS)) if options.rule in mutant.name]
    if not tried:
        parser.error(f"no rule's name contains {options.rule}")
    found = noticed(tried, PROMETHEUS, options.jobs)
    survivors = [mutant for mutant in tried if mutant not in found]

    reasons = {key: reason for key, reason in load_reasons().items() if options.rule in key[0]}
    for mutant in survivors:
        print(f"survived  {mutant.name}: {mutant.change}")
        print(f"          {reasons.get((mutant.name, mutant.change), 'NOT EXPLAINED')}")
    alerts = [mutant for mutant in tried if "alert" in mutant.rule]
    print(
        f"{len(found)} of {len(tried)} mutants noticed ({len(found) / len(tried):.1%}); "
        f"of the alerts' {len(found.intersection(alerts))} of {len(alerts)}; "
        f"{time.monotonic() - started:.0f} s"
    )
    sys.exit("\n".join(problems(tried, survivors, reasons)) or 0)


if __name__ == "__main__":
    main()
