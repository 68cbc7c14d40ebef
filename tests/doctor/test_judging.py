"""What facts mean, where they cannot be made at will: clocks, GPUs, targets that are still new."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.doctor.address import is_loopback
from app.doctor.alertmanager import judge_alerts
from app.doctor.cli import runs_vitrine
from app.doctor.device import judge_driver
from app.doctor.programs import Program, judge_file
from app.doctor.prometheus import Rule, Target, judge_rules, judge_targets
from app.doctor.traces import Spans, judge
from app.doctor.walk import Broken, Check, Layer, Ok, Skipped, State, walk
from app.telemetry.gpu import GpuState, GpuStatus

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_layer_on_a_broken_one_is_not_looked_at_and_one_beside_it_is() -> None:
    looked_at = []

    def look(name: str, result: Ok | Broken | Skipped) -> Check[None]:
        def record(_: None) -> Ok | Broken | Skipped:
            looked_at.append(name)
            return result

        return Check(
            name, "?", record, needs={"c": "b", "e": "d"}.get(name), after=("c", "d") if name == "f" else ()
        )

    well, ill, away = Ok(("well",)), Broken(("ill",), "heal"), Skipped("away")
    checks = [
        look("a", well),
        look("b", ill),
        look("c", well),
        look("d", away),
        look("e", well),
        look("f", well),
    ]
    assert list(walk(checks, None)) == [
        Layer("a", State.OK, ("well",)),
        Layer("b", State.BROKEN, ("ill",), "heal"),
        Layer("c", State.BLOCKED, ("it stands on b",)),
        Layer("d", State.SKIPPED, ("away",)),
        Layer("e", State.SKIPPED, ("it belongs to d, which was not looked at",)),
        Layer("f", State.BLOCKED, ("it stands on c",)),
    ]
    assert looked_at == ["a", "b", "d"]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        (Spans(0, 0, None), Skipped),
        (Spans(1000, 0, NOW.timestamp() - 3600), Ok),
        (Spans(0, 10, None), Broken),
        (Spans(1000, 10, NOW.timestamp() - 3600), Ok),  # few
        (Spans(100, 90, NOW.timestamp() - 5), Ok),  # long ago: they arrive by now
        (Spans(100, 90, NOW.timestamp() - 3600), Broken),
    ],
)
def test_lost_spans(spans: Spans, expected: type) -> None:
    assert isinstance(judge(spans, NOW.timestamp()), expected)


def test_watchdog_may_take_a_while_and_not_longer() -> None:
    assert isinstance(judge_alerts(["Watchdog"], NOW, NOW), Ok)
    assert isinstance(judge_alerts(["Other"], NOW - timedelta(seconds=60), NOW), Skipped)
    assert isinstance(judge_alerts(["Other"], NOW - timedelta(seconds=120), NOW), Broken)


def test_targets_and_rules_that_are_new_are_no_finding() -> None:
    new = Target(
        labels={"job": "vitrine"}, scrapeUrl="http://pod:9000/metrics", lastError="", health="unknown"
    )
    assert judge_targets([new]) == Ok(("0 of 1 targets are up, the others new",))
    assert isinstance(judge_targets([]), Broken)
    rules = [Rule(name="Watchdog", health="unknown")]
    assert judge_rules(rules) == Ok(("1 rules are loaded, 1 yet to be evaluated",))


@pytest.mark.parametrize("state", [state for state in GpuState if state != GpuState.STARTING])
def test_only_a_missing_driver_or_a_ready_one_is_no_fault(state: GpuState) -> None:
    well = state in {GpuState.READY, GpuState.NO_DEVICE, GpuState.LIBRARY_MISSING}
    assert (judge_driver(GpuStatus(state, "because")) is None) == well


@pytest.mark.parametrize(("machine", "well"), [("aarch64", False), ("x86_64", True), ("riscv64", True)])
def test_a_program_for_another_processor(machine: str, well: bool) -> None:
    start = b"\x7fELF\x02\x01" + bytes(12) + (62).to_bytes(2, "little")
    finding = judge_file(Program("kind", Path("/bin/kind"), start, executable=True), machine)
    assert (finding is None) == well


def test_who_is_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "vitrine.example", "")))


@pytest.mark.parametrize(
    ("command", "ours"),
    [
        ("python -m app serve", True),
        ("/sbin/docker-init -- python -m app serve", True),
        ("/sbin/init", False),
        ("python -m monitoring.stack", False),
        ("", False),
    ],
)
def test_whose_container_it_is(command: str, ours: bool) -> None:
    assert runs_vitrine(command.replace(" ", "\0").encode() + b"\0") == ours
