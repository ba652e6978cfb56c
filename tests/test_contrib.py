"""What is delivered beside the program: units that systemd accepts, and documentation of commands that exist."""

import re
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest
import typer.main

from console.cli import app

ROOT = Path(__file__).parents[1]
UNITS = sorted((ROOT / "contrib" / "systemd").glob("mtok-*"))
CODE = re.compile(r"```.*?```|`[^`]+`", re.S)
COMMAND = re.compile(r"(?<!-aG )\bmtok (?!mtok)([a-z]+)(?: ([a-z]+))?")


def options(unit: Path, section: str) -> dict[str, str]:
    parser = RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read(unit, encoding="utf-8")
    return dict(parser[section])


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.suffix == ".service"], ids=lambda unit: unit.name)
def test_a_service_runs_as_mtok_in_a_cage(unit: Path) -> None:
    said = options(unit, "Service")
    assert (said["User"], said["Group"], said["CapabilityBoundingSet"]) == ("mtok", "mtok", "")
    for name in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "RestrictNamespaces"):
        assert said[name] == "yes", name
    assert said["ProtectSystem"] == "strict"


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """By systemd's own check, where there is one; a unit is at least a file of sections everywhere."""
    assert len(UNITS) == 3
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8").replace("/opt/mtok/bin/mtok", "/bin/true")
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
        assert options(unit, "Unit")["Description"]
    if tool := shutil.which("systemd-analyze"):
        command = [tool, "verify", *(str(tmp_path / unit.name) for unit in UNITS)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, [line for line in done.stderr.splitlines() if "mtok" in line]) == (0, [])


def test_every_command_that_the_documentation_names_is_there() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    text = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
    found = [command for code in CODE.findall(text) for command in COMMAND.findall(code)]
    assert len(found) > 15
    for name, below in found:
        assert name in commands, name
        if below and hasattr(commands[name], "commands"):
            assert below in commands[name].commands, f"{name} {below}"
