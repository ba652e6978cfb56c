"""What the Tab key brings, as the shells ask for it; and that asking is cheap."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from console.cli import main
from console.cli_ops import Shell
from tests.console.fleet_world import TIERS, settings_text

Offered = Callable[[str], list[str]]
MTOK = [sys.executable, "-c", "import sys; from console.cli import main; sys.exit(main())"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiers = [*TIERS, ("$(touch made)", "", "spot", "1")]
    (tmp_path / "mtok.toml").write_text(settings_text(tiers, "1"), encoding="utf-8")
    return tmp_path


@pytest.fixture
def offered(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Offered:
    """What bash is offered at the end of a line."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MTOK_CONFIG", raising=False)

    def ask(line: str) -> list[str]:
        asked = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_MTOK_COMPLETE": "complete_bash"}
        for name, value in asked.items():
            monkeypatch.setenv(name, value)
        main([])
        out, err = capsys.readouterr()
        assert err == ""
        return out.split()

    return ask


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("mtok sta", ["status"]),
        ("mtok store b", ["backup"]),
        ("mtok doctor --off", ["--offline"]),
        ("mtok explain ", ["h100", "l40", "a100"]),
        ("mtok tier wake h", ["h100"]),
        ("mtok host check l", ["l40-a", "l40"]),
        ("mtok explain h100 --window 3", ["30d"]),
        ("mtok completion z", ["zsh"]),
        ("mtok agent be", ["bench"]),
        ("mtok tier wake --config none.toml h", []),
    ],
)
def test_commands_options_and_names_are_offered(offered: Offered, line: str, offers: list[str]) -> None:
    assert offered(line) == offers


def test_a_file_that_is_no_settings_brings_silence(folder: Path, offered: Offered) -> None:
    (folder / "mtok.toml").write_text("tiers = [", encoding="utf-8")
    assert offered("mtok tier wake ") == []


def test_a_real_bash_completes_by_the_script(folder: Path) -> None:
    assert shutil.which("bash") is not None
    mtok = folder / "mtok"
    mtok.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "from console.cli import main; main()"\n', encoding="utf-8"
    )
    mtok.chmod(0o755)
    typed = f"""
PATH={folder}:$PATH
source /dev/stdin <<< "$({" ".join(MTOK[:2])} "from console.cli import main; main(['completion', 'bash'])")"
COMP_WORDS=(mtok tier wake a) COMP_CWORD=3
_mtok_completion mtok
echo "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        ["bash", "--norc", "-c", typed], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("a100\n", "")


def test_each_shell_has_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    for shell in Shell:
        assert main(["completion", shell]) == 0
        assert "_MTOK_COMPLETE=complete_" + shell in capsys.readouterr().out
    assert main(["completion", "tcsh"]) == 2


def test_help_and_completion_load_no_more_than_the_command_line() -> None:
    """Speed is not measured here; what makes a start slow is."""
    slow = "('textual', 'httpx', 'sqlmodel', 'rich', 'paramiko', 'apscheduler', 'console.settings')"
    code = (
        "import sys\nfrom console.cli import main\n"
        f"main(sys.argv[1:])\nprint([m for m in {slow} if m in sys.modules], file=sys.stderr)"
    )
    asked = {**os.environ, "COMP_WORDS": "mtok tier wake ", "COMP_CWORD": "3"}
    for environment in (os.environ, {**asked, "_MTOK_COMPLETE": "complete_bash"}):
        command = [sys.executable, "-c", code, "--help"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
        assert done.stderr == "[]\n"


def test_help_is_whole_on_a_terminal_of_eighty_columns(capsys: pytest.CaptureFixture[str]) -> None:
    for group in ("", "store", "tier", "gate", "host", "export", "counter", "provider"):
        assert main([*group.split(), "--help"]) == 0
        assert "..." not in capsys.readouterr().out.partition("Commands:")[2], group
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert "Exit codes: 0 ok, 1 failed, 2 usage" in out
    assert all(len(line) <= 80 for line in out.splitlines())
