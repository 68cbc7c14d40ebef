"""A hash of what a picture of a dashboard shows, carried by the picture: so that an outdated one is found."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

KEY = "Dashboard-SHA256"
"""The name of the text in the PNG."""


def fingerprint(dashboard: Path, rows: Sequence[Sequence[str]]) -> str:
    """Of the panels with these titles: places, queries, thresholds, units and looks, but no descriptions."""
    content = json.loads(dashboard.read_text())
    panels = {panel["title"]: panel for panel in content["panels"] if panel["type"] != "row"}
    shown = [content["title"], [[_shown(panels[title]) for title in row] for row in rows]]
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


def stamp(value: str) -> PngInfo:
    """What to save in a PNG, so that `stamped` finds the fingerprint there."""
    info = PngInfo()
    info.add_text(KEY, value)
    return info


def stamped(picture: Path) -> str | None:
    """The fingerprint in a PNG, if it has one."""
    with Image.open(picture) as image:
        return image.info.get(KEY)


def _shown(panel: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "title": panel["title"],
        "type": panel["type"],
        "queries": [(target["expr"], target["legendFormat"]) for target in panel["targets"]],
        "look": panel["fieldConfig"]["defaults"],
        "columns": panel.get("transformations", []),
    }
