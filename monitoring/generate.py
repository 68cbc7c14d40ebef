"""Write all that follows from `slo.yaml`: `python -m monitoring.generate`.

Into `prometheus/` go the rules of the objectives, the tests of those rules, the local copy of Alertmanager's
configuration, and, in the hand-written rules and tests, the base of the links to the runbooks. With `--out` a
runnable copy of the folder is written instead, with `--window-scale` one whose windows are short enough to
watch.
"""

import argparse
import re
import shutil
import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import promql_parser
import yaml

from monitoring import burn_rules, burn_tests, ratio_tests
from monitoring.slo import SLO_FILE, InvalidSlo, Slo, load_slo, promql

PROMETHEUS = Path(__file__).with_name("prometheus")

GENERATED = "# Generated from monitoring/slo.yaml by `make generate`: change it there.\n"


def generate(slo: Slo, folder: Path = PROMETHEUS) -> None:
    """Bring every generated file in a copy of `monitoring/prometheus` up to date."""
    _write(folder / "rules/slo.yaml", {"groups": burn_rules.groups(slo)})
    for outdated in folder.glob("tests/slo_*_test.yaml"):
        outdated.unlink()
    for name, tests in (burn_tests.files(slo) | ratio_tests.files(slo)).items():
        _write(folder / "tests" / name, tests)
    for path in sorted([*folder.glob("rules/*.yaml"), *folder.glob("tests/*.yaml")]):
        path.write_text(_with_runbooks(slo, path.read_text()))
    _write_local_alertmanager(folder / "alertmanager")


def generate_copy(slo: Slo, folder: Path) -> None:
    """Write a copy of `monitoring/prometheus` that `prometheus.local.yml` can be started from.

    Its scrape and evaluation intervals shrink with the windows, to no less than a second.
    """
    shutil.copytree(PROMETHEUS, folder, dirs_exist_ok=True)
    generate(slo, folder)
    config = folder / "prometheus.local.yml"
    config.write_text(
        re.sub(r"(?<=_interval: )\w+", lambda found: _shrunk(slo, found[0]), config.read_text())
    )


def _shrunk(slo: Slo, interval: str) -> str:
    return promql(max(slo.scaled(promql_parser.parse_duration(interval)), timedelta(seconds=1)))


def _with_runbooks(slo: Slo, text: str) -> str:
    return re.sub(r"(?<=runbook_url: )\S+/(\w+)\.md", lambda link: slo.runbook_url(link[1]), text)


def _write_local_alertmanager(folder: Path) -> None:
    """The same routes, with the receivers on loopback instead of behind mounted secrets."""
    config = (folder / "alertmanager.yml").read_text()
    local = re.sub(r"url_file: /etc/alertmanager/secrets/(\S+)", r"url: http://127.0.0.1:9094/\1", config)
    header = "# Generated from alertmanager.yml by `make generate`: change it there.\n"
    (folder / "alertmanager.local.yml").write_text(header + local)


class _Dumper(yaml.SafeDumper):
    """Writes queries of several lines as blocks."""

    def represent_str(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    def ignore_aliases(self, data: object) -> bool:
        return True


_Dumper.add_representer(str, _Dumper.represent_str)


def _write(path: Path, content: dict[str, Any]) -> None:
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    path.write_text(GENERATED + text)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slo", type=Path, default=SLO_FILE, help="the objectives (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write a runnable copy here, instead of the tree")
    parser.add_argument("--window-scale", type=Decimal, help="in place of the file's; needs --out")
    options = parser.parse_args()
    if options.window_scale is not None and options.out is None:
        parser.error("--window-scale needs --out: the committed rules are not scaled")
    try:
        slo = load_slo(options.slo, options.window_scale)
    except InvalidSlo as error:
        sys.exit(str(error))
    if options.out:
        generate_copy(slo, options.out)
    else:
        generate(slo)


if __name__ == "__main__":
    main()
