"""Who may load what, shown in processes of their own; the layers themselves are import-linter's."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that are loaded after `statement` in a fresh interpreter."""
    code = f"{statement}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )


HEAVY = {"textual", "apscheduler", "paramiko", "torch"}


@pytest.mark.parametrize(
    ("statement", "never"),
    [
        ("import store.fleet_reader, store.samples", HEAVY | {"httpx", "numpy", "starlette", "console", "agent"}),
        ("import agent.server, agent.cli, agent.engine.reference", HEAVY | {"httpx", "console", "opentelemetry"}),
        ("import agent.check, agent.engine.exllamav2_load", HEAVY | {"exllamav2", "console"}),
        ("import console.cli", HEAVY | {"httpx", "numpy", "sqlmodel", "agent"}),
        ("import console.commands", HEAVY | {"numpy", "agent", "starlette", "prometheus_client"}),
        ("import console.tui.app", {"apscheduler", "paramiko", "torch", "httpx", "agent", "numpy"}),
        ("import console.main, console.first_look, console.read_ahead", HEAVY | {"typer", "pydantic", "store"}),
        ("import console.tui.app, console.tui.screens.fleet, console.service, console.opening", {"sqlalchemy"}),
    ],
)
def test_a_part_loads_only_what_it_needs(statement: str, never: set[str]) -> None:
    assert loaded_by(statement) & never == set()


@pytest.mark.parametrize("package", ["agent", "console", "store"])
def test_the_packages_are_this_checkouts(package: str) -> None:
    module = __import__(package)
    assert Path(module.__file__ or "").parents[1] == ROOT


def test_files_and_functions_stay_readable() -> None:
    """A file of 400 lines at the most: the house style, section 1."""
    sources = [path for name in ("agent", "console", "store", "tests") for path in (ROOT / name).rglob("*.py")]
    long = {str(path.relative_to(ROOT)): n for path in sources if (n := len(path.read_text().splitlines())) > 400}
    assert long == {}
