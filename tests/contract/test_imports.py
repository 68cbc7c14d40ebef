"""What importing costs, and who may import whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path
    for path in (ROOT / "app").rglob("*.py")
    if path.name != "__main__.py" and "__pycache__" not in path.parts
)
TELEMETRY = {"prometheus_client", "opentelemetry", "structlog"}

SIDE_EFFECTS = """
import logging, os, signal, sys, threading
from importlib import import_module

def state():
    return {
        "threads": threading.active_count(),
        "environment": dict(os.environ),
        "log handlers": list(logging.getLogger().handlers),
        "signal handlers": [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)],
        "folder": sorted(os.listdir(".")),
        "open files": sorted(os.listdir("/proc/self/fd")),
    }

# Libraries may do what they like when they are imported: they are, before we look.
exec(sys.argv[2], {})
before = state()
for name in sys.argv[1].split(","):
    import_module(name)
after = state()
changed = [name for name in before if before[name] != after[name]]
assert not changed, changed
print("clean")
"""


def dotted(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def imported(path: Path) -> set[str]:
    """The names of all modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def imports_of_libraries() -> str:
    """Every statement of ours that imports a library, with its names: some load those only then."""
    ours = {"app", *sys.stdlib_module_names}
    nodes = [node for path in MODULES for node in ast.walk(ast.parse(path.read_text()))]
    statements = {
        ast.unparse(node)
        for node in nodes
        if (isinstance(node, ast.Import) and node.names[0].name.partition(".")[0] not in ours)
        or (isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] not in ours)
    }
    return "\n".join(sorted(statements))


def test_importing_the_app_changes_nothing() -> None:
    ours = ",".join(map(dotted, MODULES))
    run = subprocess.run(
        [sys.executable, "-c", SIDE_EFFECTS, ours, imports_of_libraries()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "clean\n", "")


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_only_telemetry_and_the_composition_root_know_a_telemetry_library(path: Path) -> None:
    if path.is_relative_to(ROOT / "app" / "telemetry") or path == ROOT / "app" / "main.py":
        return
    assert not {name for name in imported(path) if name.partition(".")[0] in TELEMETRY}


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_only_the_model_runner_knows_torch(path: Path) -> None:
    if path.is_relative_to(ROOT / "app" / "models"):
        return
    assert not {name for name in imported(path) if name.partition(".")[0] in {"torch", "transformers"}}


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_the_core_knows_nothing_of_http(path: Path) -> None:
    core = {
        "admission",
        "batcher",
        "batching",
        "context",
        "costs",
        "errors",
        "health",
        "inference",
        "isolation",
    }
    core |= {"lifecycle", "observer"}
    if path.parent != ROOT / "app" or path.stem not in core:
        return
    assert not {
        name
        for name in imported(path)
        if name.partition(".")[0] in {"fastapi", "starlette", "uvicorn", "http"}
    }
    assert not {name for name in imported(path) if name.startswith(("app.api", "app.edge", "app.telemetry"))}
