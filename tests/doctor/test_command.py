"""The command as its users meet it: what it looks at unasked, what it prints, how it ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.__main__ import main
from app.doctor import options
from app.doctor.report import Report
from tests.doctor.conftest import ALL_OK, MANIFESTS, Doctor, World
from tests.doctor.servers import PAGE, http_server
from tests.live.stacks import ROOT


def command(*arguments: str, stdin: bytes = b"", **environment: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-m", "app", "doctor", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        input=stdin,
        capture_output=True,
        check=False,
    )


@pytest.fixture
def usual(world: World, free_port: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Where things are by convention: nowhere, until a test moves one of them to this world's."""
    places = dict.fromkeys(options.USUAL, f"http://127.0.0.1:{free_port}")
    for name, url in places.items():
        monkeypatch.setitem(options.USUAL, name, url)
    return options.USUAL


def test_a_healthy_world_gives_no_finding(world: World) -> None:
    walked = world.walk()
    assert walked.states == ALL_OK, walked.report
    assert all(layer.evidence and layer.remedy is None for layer in walked.report.layers)


def test_alone_on_a_new_machine_it_asks_for_the_model(doctor: Doctor, usual: dict[str, str]) -> None:
    walked = doctor()
    assert walked.report.first_broken == "settings"
    assert "APP_MODEL: not set" in walked.evidence
    assert set(walked.states.values()) == {"ok", "broken", "blocked", "skipped"}


def test_what_runs_at_the_usual_addresses_is_looked_at_unasked(
    world: World, doctor: Doctor, usual: dict[str, str]
) -> None:
    usual |= {name: world.options[f"{name}_url"] for name in usual}
    walked = doctor()
    looked_at = {"programs", "service", "health", "metrics", "prometheus", "targets", "rules"}
    looked_at |= {"alertmanager", "alerts", "traces"}
    assert walked.states == {name: "ok" if name in looked_at else "skipped" for name in ALL_OK}


def test_a_stranger_at_a_usual_address_is_none_of_its_business(doctor: Doctor, usual: dict[str, str]) -> None:
    with http_server({}, (200, PAGE)) as url:
        usual |= {"prometheus": url, "alertmanager": url}
        walked = doctor("--manifests", str(MANIFESTS))
    assert walked.report.healthy
    assert {name for name, state in walked.states.items() if state == "ok"} == {"programs", "manifests"}


def test_a_named_address_makes_the_usual_ones_uninteresting(
    world: World, doctor: Doctor, usual: dict[str, str]
) -> None:
    usual |= {name: world.options[f"{name}_url"] for name in usual}
    walked = doctor("--prometheus-url", world.options["prometheus_url"])
    looked_at = {"programs", "prometheus", "targets", "rules"}
    assert {name for name, state in walked.states.items() if state == "ok"} == looked_at


def test_a_service_of_these_settings_is_looked_at_where_they_say(world: World, usual: dict[str, str]) -> None:
    world.options.clear()
    walked = world.walk()
    assert walked.report.healthy
    assert {"settings", "model", "device", "address", "service", "health", "answer", "metrics"} <= {
        name for name, state in walked.states.items() if state == "ok"
    }


def test_for_people_it_says_state_evidence_and_remedy(tmp_path: Path, programs: Path) -> None:
    (programs / "kind").write_bytes(PAGE)
    (programs / "kind").chmod(0o755)
    run = command("--manifests=-", stdin=MANIFESTS.read_bytes())
    lines = run.stdout.decode().splitlines()
    words = " ".join(run.stdout.decode().split())
    assert (run.returncode, run.stderr) == (1, b"")
    assert lines[0].startswith("BROKEN         programs       ")
    assert words.startswith(f"BROKEN programs {programs}/kind is an HTML page, not a program → Delete it and")
    assert max(map(len, lines)) <= max(112, 30 + len(f"{programs}/kind"))
    assert "ok             manifests      2 ports of 2 Services lead to pods that listen there" in lines
    assert lines[-1] == "First broken layer: programs."

    (programs / "kind").unlink()
    run = command("--manifests=-", stdin=MANIFESTS.read_bytes())
    assert (run.returncode, run.stderr) == (0, b"")
    assert run.stdout.decode().splitlines()[-1] == "Nothing is broken in the 2 layers looked at."


def test_in_json_it_prints_nothing_else(programs: Path) -> None:
    run = command("--json", "--manifests=-", stdin=b"")
    assert (run.returncode, run.stderr) == (1, b"")
    report = Report.model_validate_json(run.stdout)
    assert (report.first_broken, report.healthy, report.version) == ("manifests", False, 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--service-url", "127.0.0.1:8000"], "'127.0.0.1:8000' is no URL like http://127.0.0.1:8000"),
        (["--ops-url", "http://127.0.0.1:99999"], "the port is no number from 0 to 65535"),
        (["--manifests", "nowhere.yaml"], "cannot read nowhere.yaml"),
        (["--api-key-file", "nowhere"], "cannot read nowhere"),
        (["--otlp-protocol", "zipkin"], "invalid choice"),
        (["--cluster"], "unrecognized arguments: --cluster"),
    ],
)
def test_wrong_use_is_told_apart_from_a_finding(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["doctor", *arguments])
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_it_starts_without_torch_and_without_opentelemetry(programs: Path, tmp_path: Path) -> None:
    (tmp_path / "settings").write_text("")
    code = (
        "import sys; from app.__main__ import main; main(['doctor', '--manifests=-']);"
        "print([name for name in ('torch', 'transformers', 'opentelemetry', 'grpc', 'fastapi')"
        " if name in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input=MANIFESTS.read_text(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.splitlines()[-1] == "[]"
