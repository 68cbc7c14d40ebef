"""Which mutants do the tests notice?

Each mutant is tried with the test that depends on the fewest rules and, until one notices it, with the next.
The tests are excerpts, and several share a run of promtool, each with files of its own. What no excerpt
notices is tried with every test as it stands: a mistake may also show in an evaluation that fails elsewhere.
"""

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from monitoring.excerpts import Excerpt, Scope
from monitoring.mutations import Mutant
from monitoring.suite import load_cases, load_rules, passed, write

TESTS_A_RUN = 16


def noticed(mutants: Sequence[Mutant], folder: Path, jobs: int) -> set[Mutant]:
    """The mutants with which some test in `folder`, laid out as `monitoring/prometheus`, fails.

    Args:
        mutants: of the rules in `folder`.
        folder: the rules and their tests.
        jobs: how many promtools run at once.

    Raises:
        ValueError: if a test fails without any mutant, since it would then seem to notice each.
    """
    rules = load_rules(folder)
    scopes = [Scope(case, rules) for case in load_cases(folder)]
    with ThreadPoolExecutor(jobs) as pool:
        _must_pass(scopes, pool)
        plans = {mutant: _plan(mutant, scopes) for mutant in mutants}
        found: set[Mutant] = set()
        while trials := [(mutant, excerpt) for mutant, plan in plans.items() for excerpt in next(plan, ())]:
            verdicts = _verdicts([excerpt for _, excerpt in trials], pool)
            found |= {mutant for (mutant, _), passes in zip(trials, verdicts, strict=True) if not passes}
            plans = {mutant: plan for mutant, plan in plans.items() if mutant not in found}
    return found


def _must_pass(scopes: Sequence[Scope], pool: ThreadPoolExecutor) -> None:
    unchanged = [scope.excerpt() for scope in scopes]
    for excerpt, passes in zip(unchanged, _verdicts(unchanged, pool), strict=True):
        if not passes:
            test = excerpt.case.test.get("name", "a test")
            raise ValueError(
                f"{excerpt.case.file}: {test}: fails without any mutant; see `promtool test rules`"
            )


def _plan(mutant: Mutant, scopes: Sequence[Scope]) -> Iterator[Sequence[Excerpt]]:
    """What to try the mutant with, one after another."""
    loading = [scope for scope in scopes if mutant.place in scope.rules]
    excerpts = (
        scope.excerpt(mutant.place, mutant.rule) for scope in loading if scope.depends_on(mutant.place)
    )
    for excerpt in sorted(excerpts, key=lambda excerpt: (len(excerpt.rules), excerpt.evaluations())):
        yield [excerpt]
    yield [Excerpt(scope.case, {**scope.rules, mutant.place: mutant.rule}) for scope in loading]


def _verdicts(excerpts: Sequence[Excerpt], pool: ThreadPoolExecutor) -> list[bool]:
    """Whether each passes."""
    with tempfile.TemporaryDirectory() as name:
        tests = [
            write(Path(name, str(number)), excerpt.case, excerpt.rules)
            for number, excerpt in enumerate(excerpts)
        ]
        runs = [tests[start : start + TESTS_A_RUN] for start in range(0, len(tests), TESTS_A_RUN)]
        return [passes for verdicts in pool.map(passed, runs) for passes in verdicts]
