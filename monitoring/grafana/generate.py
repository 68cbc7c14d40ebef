"""Write the dashboards: `python -m monitoring.grafana.generate`, part of `make generate`."""

import argparse
import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from monitoring.grafana import autoscaling, gpu, inference, overview, pipeline
from monitoring.grafana.alerts import read_alerts
from monitoring.slo import SLO_FILE, InvalidSlo, Slo, load_slo

DASHBOARDS = Path(__file__).with_name("dashboards")
MODULES = (overview, inference, gpu, autoscaling, pipeline)


def generate(slo: Slo, folder: Path = DASHBOARDS) -> None:
    """Bring the folder up to date; a dashboard that is no more is removed."""
    alerts = read_alerts(slo)
    folder.mkdir(parents=True, exist_ok=True)
    for outdated in folder.glob("*.json"):
        outdated.unlink()
    for module in MODULES:
        text = json.dumps(module.dashboard(slo, alerts), cls=JSONEncoder, indent=1, ensure_ascii=False)
        (folder / f"{module.UID.removeprefix('vitrine-')}.json").write_text(f"{text}\n")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slo", type=Path, default=SLO_FILE, help="the objectives (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=DASHBOARDS, help="the folder (default: %(default)s)")
    options = parser.parse_args()
    try:
        slo = load_slo(options.slo)
    except InvalidSlo as error:
        sys.exit(str(error))
    generate(slo, options.out)


if __name__ == "__main__":
    main()
