"""Write what autoscaling takes from slo.yaml into the manifests: `python -m monitoring.autoscaling.generate`.

Into both autoscalers goes the target, into the Deployment the wait that saturation is measured by, and into
Jaeger's configuration the duration from which on a trace is kept as slow.

Part of `make generate`. Everything else in these manifests is written by hand.
"""

import argparse
import re
import sys
from datetime import timedelta
from pathlib import Path

from monitoring.slo import SLO_FILE, InvalidSlo, Slo, load_slo

MANIFESTS = Path(__file__).parents[2] / "k8s"


def generate(slo: Slo, manifests: Path = MANIFESTS) -> None:
    """Bring the manifests up to date.

    Raises:
        ValueError: if a manifest has not exactly one place for it.
    """
    target = slo.saturation.autoscaler_target
    components = manifests / "components"
    _write(components / "autoscaling-adapter/hpa.yaml", "averageValue: ", f"{int(1000 * target)}m")
    _write(components / "autoscaling-keda/scaled-object.yaml", "threshold: ", f'"{target.normalize():f}"')
    wait = f'"{slo.allowed_wait.total_seconds():g}"'
    slow = f"{slo.objectives.latency.threshold / timedelta(milliseconds=1):g}}}}}"
    _write(manifests / "monitoring/jaeger-config.yaml", r"- \{name: slow, .*threshold_ms: ", slow)
    _write(manifests / "base/deployment.yaml", r"- name: APP_ADMISSION__SLO_WAIT\s+value: ", wait)


def _write(path: Path, before: str, value: str) -> None:
    text, places = re.subn(rf"(?m)^( +{before})\S+", rf"\g<1>{value}", path.read_text())
    if places != 1:
        raise ValueError(f"{path.name}: has {places} places for {before}, and must have one")
    path.write_text(text)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slo", type=Path, default=SLO_FILE, help="the objectives (default: %(default)s)")
    parser.add_argument("--manifests", type=Path, default=MANIFESTS, help="the folder (default: %(default)s)")
    options = parser.parse_args()
    try:
        generate(load_slo(options.slo), options.manifests)
    except InvalidSlo as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
