"""The templates' environment: everything is escaped, and numbers are written one way throughout."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from app.console.ring import FAILED, LATEST, MINUTES, SLOWEST, Exchange
from app.console.state import Column
from app.console.waterfall import Bar, batch_bar, stage_bars

TEMPLATES = Path(__file__).parent / "templates"

NOTHING = "\N{EN DASH}"
DOT_SEGMENTS = {".", ".."}

REASONS = {
    "drained": "took all that waited",
    "shared": "left a share to other workers",
    "max_inputs": "full, by inputs",
    "max_tokens": "full, by tokens",
    "lengths": "the rest was unlike in length",
}
KEPT = {"latest": LATEST, "slowest": SLOWEST, "minutes": MINUTES, "failed": FAILED}


def environment() -> Environment:
    """Templates by name, with the filters and functions that they use."""
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    templates.filters |= {
        "ms": milliseconds,
        "three_digits": three_digits,
        "count": count,
        "percent": percent,
        "duration": duration,
        "clock": clock,
        "instant": instant,
        "gib": gib,
        "address": address,
        "by_id": by_id,
        "plot": plot,
        "strip": strip,
        "shares": shares,
        "mostly": mostly,
        "stages": stage_bars,
    }
    templates.globals |= {"batch_bar": batch_bar, "release_reasons": REASONS, "kept": KEPT}
    for name in templates.list_templates():
        templates.get_template(name)  # compiled now, and not by whoever looks first
    return templates


def milliseconds(seconds: float | None, digits: int = 1) -> str:
    """`1,234.5`."""
    return NOTHING if seconds is None else f"{seconds * 1000:,.{digits}f}"


def three_digits(seconds: float | None) -> str:
    """Milliseconds, as exact as a quantile is: `0.12`, `12.3`, `1,234`."""
    return milliseconds(seconds, 2 if (seconds or 0) < 0.01 else 1 if (seconds or 0) < 0.1 else 0)


def count(number: float, digits: int = 0) -> str:
    """`1,234`."""
    return f"{number:,.{digits}f}"


def percent(ratio: float | None, digits: int = 1) -> str:
    """`12.3%`."""
    return NOTHING if ratio is None else f"{ratio:.{digits}%}"


def duration(seconds: float) -> str:
    """The two largest units of a long time: `3 h 12 min`."""
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    parts = []
    left = int(seconds)
    for name, size in units:
        if left >= size or name == "s":
            parts.append(f"{left // size} {name}")
            left %= size
    return " ".join(parts[:2])


def clock(unix: float) -> str:
    """`13:45:12.345`, UTC."""
    return datetime.fromtimestamp(unix, UTC).strftime("%H:%M:%S.%f")[:-3]


def instant(unix: float) -> str:
    """`2026-11-24T13:45:12.345Z`."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def gib(size: float) -> str:
    """Bytes as `12.3 GiB`."""
    return f"{size / 2**30:.1f} GiB"


def by_id(request_id: str) -> str:
    """The address of the requests with that id, which may be any visible ASCII."""
    # A browser takes a path's last part away if it is dots, encoded or not.
    if request_id in DOT_SEGMENTS:
        return f"/requests?q={request_id}"
    return f"/requests/{quote(request_id, safe='')}"


def address(exchange: Exchange) -> str:
    """The address of this one, also if others have its id."""
    address = by_id(exchange.request_id)
    return f"{address}{'&' if '?' in address else '?'}n={exchange.number}"


def plot(history: Sequence[Column], height: int) -> dict[str, str]:
    """Columns one unit apart, stacked, as the paths of an SVG: answered, refused, failed."""
    scale = height / max(1, *(column.requests for column in history))
    paths: dict[str, list[str]] = {"answered": [], "refused": [], "failed": []}
    for x, column in enumerate(history):
        base = float(height)
        answered = column.requests - column.failed - column.refused
        for name, number in (("answered", answered), ("refused", column.refused), ("failed", column.failed)):
            if number:
                paths[name].append(f"M{x} {base:.2f}h.8v{-number * scale:.2f}h-.8z")
                base -= number * scale
    return {name: "".join(parts) for name, parts in paths.items()}


def strip(bars: Sequence[Bar], total: float | None = None) -> Markup:
    """The bars on one line, as an SVG as wide as `total` seconds, by default as long as they are."""
    scale = 1000 / (total or sum(bar.seconds for bar in bars) or 1.0)
    rects = [
        f'<rect class="{bar.name}{" cut" if bar.cut else ""}" x="{min(scale * bar.start, 997):.1f}" '
        f'width="{max(scale * bar.seconds, 3):.1f}" height="10"/>'
        for bar in bars
    ]
    # Written here, since a template takes three times as long.
    return Markup(  # noqa: S704 - numbers and names of our own
        '<svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(rects)}</svg>"
    )


def shares(bars: Sequence[Bar]) -> str:
    """`queue 82%, compute 17%`: all that is 1% or more, the largest first."""
    total = sum(bar.seconds for bar in bars) or 1.0
    ranked = sorted(bars, key=lambda bar: -bar.seconds)
    return ", ".join(f"{bar.name} {bar.seconds / total:.0%}" for bar in ranked if bar.seconds >= 0.01 * total)


def mostly(bars: Sequence[Bar]) -> str:
    """`queue 82%`, the largest of `shares`."""
    return shares(bars).partition(",")[0]
