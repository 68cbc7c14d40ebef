import re
import subprocess
import sys
from pathlib import Path

from app.settings import variables

ROOT = Path(__file__).parents[2]


def test_every_setting_is_documented_with_its_default_and_no_other() -> None:
    rows = re.findall(
        r"^\| `(APP_\w+)` \| (.*?) \| (.*?) \|$", (ROOT / "docs/settings.md").read_text(), re.MULTILINE
    )
    documented = {name: (default, description) for name, default, description in rows}
    expected = {}
    for name, field in variables():
        default = field.get_default(call_default_factory=True, validated_data={})
        shown = "required" if field.is_required() else "" if default in (None, ()) else f"`{default}`"
        expected[name] = (shown, field.description)
    assert documented == expected


def test_help_lists_every_setting() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "app", "serve", "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert all(f"  {name} (" in run.stdout for name, _ in variables())
