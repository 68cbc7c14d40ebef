"""Everything follows from slo.yaml, and what is committed is what follows."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from monitoring.generate import PROMETHEUS
from monitoring.slo import load_slo
from tests.monitoring.rules import TEST_SLO, run, slo_text


def _generate(*arguments: str | Path) -> None:
    run(sys.executable, "-m", "monitoring.generate", *arguments)


def _texts(folder: Path) -> dict[Path, str]:
    return {path.relative_to(folder): path.read_text() for path in folder.rglob("*") if path.is_file()}


def _changed_slo(folder: Path, old: str, new: str) -> Path:
    path = folder / "slo.yaml"
    path.write_text(slo_text(old, new))
    return path


def test_what_is_committed_is_what_is_generated(tmp_path: Path) -> None:
    _generate("--out", tmp_path)

    assert _texts(tmp_path) == _texts(PROMETHEUS)


def test_a_changed_objective_changes_rules_and_tests_which_still_pass(tmp_path: Path) -> None:
    before, out = tmp_path / "before", tmp_path / "prometheus"
    for threshold, folder in (("250ms", before), ("100ms", out)):
        slo = _changed_slo(tmp_path, "threshold: 250ms", f"threshold: {threshold}")
        _generate("--slo", slo, "--out", folder)

    rules = (out / "rules/slo.yaml").read_text()
    assert 'le="0.1"' in rules
    assert 'le="0.25"' not in rules
    assert "took longer than 100ms" in rules
    assert {"record": "slo:allowed_wait:seconds", "expr": "vector(0.08)"} in yaml.safe_load(rules)["groups"][
        0
    ]["rules"]
    run("promtool", "check", "rules", "--lint=all", "--lint-fatal", out / "rules/slo.yaml")
    changed = [path for path, text in _texts(out).items() if text != (before / path).read_text()]
    tests = [out / path for path in changed if path.parts[0] == "tests"]
    assert len(tests) >= 6
    run("promtool", "test", "rules", *tests)


@pytest.mark.parametrize("percent", ["95", "99.99"])
def test_lax_and_strict_objectives_have_passing_tests(tmp_path: Path, percent: str) -> None:
    out = tmp_path / "prometheus"
    _generate("--slo", _changed_slo(tmp_path, "percent: 99.9\n", f"percent: {percent}\n"), "--out", out)

    run(
        "promtool",
        "test",
        "rules",
        out / "tests/slo_availability_1h_test.yaml",
        out / "tests/slo_budget_test.yaml",
    )


def test_shrunken_windows_keep_their_names_and_pass_their_tests(tmp_path: Path) -> None:
    _generate("--slo", TEST_SLO, "--window-scale", "0.01", "--out", tmp_path)

    (group,) = yaml.safe_load((tmp_path / "rules/slo.yaml").read_text())["groups"]
    assert group["interval"] == "1s"
    exprs = {rule.get("record"): rule["expr"] for rule in group["rules"]}
    assert "[36s]" in exprs["slo:sli_events:rate1h"]
    assert "[3s]" in exprs["slo:sli_events:rate5m"]
    page = next(rule for rule in group["rules"] if rule.get("alert") == "AvailabilityBudgetBurn")
    assert page["for"] == "1s200ms"
    assert "requests in the last 36s" in page["annotations"]["description"]
    assert "scrape_interval: 1s" in (tmp_path / "prometheus.local.yml").read_text()
    run("promtool", "check", "config", tmp_path / "prometheus.local.yml")
    run(
        "promtool",
        "test",
        "rules",
        tmp_path / "tests/slo_availability_1h_test.yaml",
        tmp_path / "tests/slo_ratios_test.yaml",
    )


def test_the_runbooks_base_is_one_setting(tmp_path: Path) -> None:
    base = load_slo().runbooks
    out = tmp_path / "prometheus"
    _generate("--slo", TEST_SLO, "--out", out)

    assert base not in slo_text()
    for folder in ("rules", "tests"):
        for path in (out / folder).iterdir():
            assert base not in path.read_text(), path
    run("promtool", "test", "rules", out / "tests/meta_test.yaml")


def test_a_wrong_objective_ends_the_generator_and_writes_nothing(tmp_path: Path) -> None:
    wrong = _changed_slo(tmp_path, "threshold: 250ms", "threshold: 251ms")

    done = subprocess.run(
        [sys.executable, "-m", "monitoring.generate", "--slo", wrong, "--out", tmp_path / "out"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "slo.yaml: objectives.latency.threshold" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_tree_is_never_scaled_by_accident() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "monitoring.generate", "--window-scale", "0.1"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "needs --out" in done.stderr


def test_no_test_of_a_dropped_burn_rate_stays(tmp_path: Path) -> None:
    out = tmp_path / "prometheus"
    shutil.copytree(PROMETHEUS, out)
    slo = _changed_slo(tmp_path, "  - {window: 3d, factor: 1, for: 3h, severity: warning}\n", "")

    _generate("--slo", slo, "--out", out)

    assert not list((out / "tests").glob("slo_*_3d_test.yaml"))
    assert "3d" not in (out / "rules/slo.yaml").read_text()
