"""The dashboards follow from code and slo.yaml, and what is committed is what follows."""

import subprocess
import sys
from pathlib import Path

from monitoring.grafana.alerts import read_alerts
from monitoring.grafana.generate import DASHBOARDS, generate
from monitoring.slo import load_slo
from tests.dashboards.boards import Board, Panel, panel
from tests.monitoring.rules import run, slo_text


def _texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def _changed(folder: Path, old: str = "", new: str = "") -> Path:
    """The dashboards' folder when the objectives' file has `new` for `old`."""
    changed = folder / "slo.yaml"
    changed.write_text(slo_text(old, new))
    generate(load_slo(changed), folder / "dashboards")
    return folder / "dashboards"


def _panel(folder: Path, dashboard: str, title: str) -> Panel:
    (found,) = (found for found in Board(folder / f"{dashboard}.json").panels if found.title == title)
    return found


def test_what_is_committed_is_what_is_generated(tmp_path: Path) -> None:
    (tmp_path / "outdated.json").write_text("{}")

    run(sys.executable, "-m", "monitoring.grafana.generate", "--out", tmp_path)

    assert _texts(tmp_path) == _texts(DASHBOARDS)


def test_the_latency_objective_moves_lines_and_words(tmp_path: Path) -> None:
    assert _panel(_changed(tmp_path), "overview", "Latency").steps == [(None, "green"), (0.25, "red")]
    folder = _changed(tmp_path, "threshold: 250ms", "threshold: 100ms")
    assert _panel(folder, "overview", "Latency").steps == [(None, "green"), (0.1, "red")]
    assert "100ms" in _panel(folder, "overview", "Served in time").content["description"]
    assert _panel(folder, "inference", "Waiting").steps == [(None, "green"), (0.08, "red")]
    assert "250ms" not in (folder / "overview.json").read_text()


def test_the_availability_objective_moves_its_lines(tmp_path: Path) -> None:
    for percent, line in (("99.9", 0.999), ("99.5", 0.995)):
        folder = _changed(tmp_path, "percent: 99.9\n", f"percent: {percent}\n")
        for title in ("Served", "Availability"):
            assert _panel(folder, "overview", title).steps == [(None, "red"), (line, "green")]


def test_burn_rates_and_autoscaler_target_move_theirs(tmp_path: Path) -> None:
    for factor in (14.4, 13):
        folder = _changed(tmp_path, "factor: 14.4", f"factor: {factor}")
        steps = _panel(folder, "overview", "Budget burn").steps
        assert [value for value, _ in steps] == [None, 1, 3, 6, factor]

    for target in (0.15, 0.7):
        folder = _changed(tmp_path, "autoscaler_target: 0.15", f"autoscaler_target: {target}")
        for dashboard, title in (
            ("overview", "Saturation"),
            ("inference", "Saturation"),
            ("autoscaling", "Saturation and target"),
        ):
            assert [value for value, _ in _panel(folder, dashboard, title).steps] == [None, target, 1]


def test_the_runbooks_base_moves_every_link(tmp_path: Path) -> None:
    base = load_slo().runbooks
    folder = _changed(tmp_path)

    assert base not in slo_text()
    assert base in (DASHBOARDS / "overview.json").read_text()
    for text in _texts(folder).values():
        assert base not in text


def test_a_wrong_objective_ends_the_generator_and_writes_nothing(tmp_path: Path) -> None:
    wrong = tmp_path / "slo.yaml"
    wrong.write_text(slo_text("threshold: 250ms", "threshold: 251ms"))

    done = subprocess.run(
        [
            *(sys.executable, "-m", "monitoring.grafana.generate"),
            *("--slo", wrong, "--out", tmp_path / "out"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "slo.yaml: objectives.latency.threshold" in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_alerts_threshold_is_drawn_where_its_condition_is_one() -> None:
    alerts = read_alerts(load_slo())

    assert alerts["PaddingWaste"].threshold == 0.5
    assert alerts["MemoryNearLimit"].threshold == 0.9
    assert alerts["AvailabilityBudgetBurn"].threshold is None  # several conditions
    assert alerts["TargetDown"].threshold is None  # equality
    assert panel("inference", "Padding").steps[-1] == (0.5, "red")
