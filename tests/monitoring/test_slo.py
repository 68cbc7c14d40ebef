from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.slo import InvalidSlo, load_slo
from tests.monitoring.rules import slo_text


@pytest.fixture
def content() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(slo_text())
    return read


def _change(content: dict[str, Any], path: str, value: object) -> None:
    *parents, last = path.split(".")
    place: Any = content
    for parent in parents:
        place = place[int(parent)] if parent.isdigit() else place[parent]
    place[last] = value


def test_what_follows_from_the_objectives(tmp_path: Path) -> None:
    path = tmp_path / "slo.yaml"
    path.write_text(slo_text())
    slo = load_slo(path)
    assert slo.objectives.latency.le == "0.25"
    assert slo.budget("availability") == Decimal("0.001")
    assert slo.budget("latency") == Decimal("0.01")
    assert slo.allowed_wait == timedelta(milliseconds=200)


@pytest.mark.parametrize(
    ("field", "value", "remedy"),
    [
        ("objectives.latency.threshold", "220ms", "bucket"),
        ("objectives.latency.threshold", "fast", "is not a duration; write it like 250ms"),
        ("objectives.availability.percent", 101, "less than 100"),
        ("objectives.availability.percent", 90, "raise it to 94.44"),
        ("objectives.availability.goal", 99, "Extra inputs are not permitted"),
        ("burn_rates.0.for", "1h", "at most half of the short window, 2m30s"),
        ("burn_rates.0.window", "6h", "each needs a window of its own"),
        ("burn_rates.0.window", "30m", "at least 1h"),
        ("burn_rates.0.severity", "catastrophe", "'critical' or 'warning'"),
        ("window", "1d", "longer than each burn rate's, 3d"),
        ("minimum_bad_requests", 0, "greater than or equal to 1"),
        ("saturation.autoscaler_target", 1.5, "less than or equal to 1"),
        ("saturation.autoscaler_target", 0.1234, "no more than 3 decimal places"),
        ("window_scale", 0.001, "greater than or equal to 0.01"),
        ("runbooks", "wiki", "should match pattern"),
    ],
)
def test_a_wrong_value_is_named_with_its_remedy(
    content: dict[str, Any], tmp_path: Path, field: str, value: object, remedy: str
) -> None:
    _change(content, field, value)
    path = tmp_path / "slo.yaml"
    path.write_text(yaml.safe_dump(content))

    with pytest.raises(InvalidSlo, match=remedy) as caught:
        load_slo(path)
    assert all(name in str(caught.value) for name in field.split(".")[:1])


def test_a_missing_value_is_named(content: dict[str, Any], tmp_path: Path) -> None:
    del content["objectives"]["latency"]["threshold"]
    path = tmp_path / "slo.yaml"
    path.write_text(yaml.safe_dump(content))

    with pytest.raises(InvalidSlo, match=r"objectives\.latency\.threshold: Field required"):
        load_slo(path)


@pytest.mark.parametrize(
    ("threshold", "le"), [("5ms", "0.005"), ("1s", "1.0"), ("2500ms", "2.5"), ("10s", "10.0")]
)
def test_the_threshold_is_written_as_the_exposition_writes_it(
    content: dict[str, Any], tmp_path: Path, threshold: str, le: str
) -> None:
    _change(content, "objectives.latency.threshold", threshold)
    path = tmp_path / "slo.yaml"
    path.write_text(yaml.safe_dump(content))

    assert load_slo(path).objectives.latency.le == le
