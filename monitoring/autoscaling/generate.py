"""Write the target of slo.yaml into both autoscalers: `python -m monitoring.autoscaling.generate`.

Part of `make generate`. Everything else in these manifests is written by hand.
"""

import argparse
import re
import sys
from pathlib import Path

from monitoring.slo import SLO_FILE, InvalidSlo, Slo, load_slo

COMPONENTS = Path(__file__).parents[2] / "k8s/components"


def generate(slo: Slo, components: Path = COMPONENTS) -> None:
    """Bring the target of both components up to date.

    Raises:
        ValueError: if a manifest has not exactly one place for it.
    """
    target = slo.saturation.autoscaler_target
    _write(components / "autoscaling-adapter/hpa.yaml", "averageValue", f"{int(1000 * target)}m")
    _write(components / "autoscaling-keda/scaled-object.yaml", "threshold", f'"{target.normalize():f}"')


def _write(path: Path, field: str, value: str) -> None:
    text, places = re.subn(rf"(?m)^( +{field}: )\S+", rf"\g<1>{value}", path.read_text())
    if places != 1:
        raise ValueError(f"{path.name}: has {places} lines `{field}: …`, and must have one")
    path.write_text(text)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slo", type=Path, default=SLO_FILE, help="the objectives (default: %(default)s)")
    parser.add_argument(
        "--components", type=Path, default=COMPONENTS, help="the folder (default: %(default)s)"
    )
    options = parser.parse_args()
    try:
        generate(load_slo(options.slo), options.components)
    except InvalidSlo as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
