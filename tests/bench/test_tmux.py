"""The console in a real tmux at 80x24: it draws there, and what it copies goes through."""

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.console.tui.confirmed import shows_the_fleet
from tests.console.tui.live_store import console_of, live_world, nobody_left


def test_it_draws_in_tmux(tmp_path: Path) -> None:
    tmux = shutil.which("tmux")
    if tmux is None:
        pytest.skip("not run: no tmux here (Debian: tmux)")
    world, server = live_world(tmp_path), [tmux, "-S", str(tmp_path / "tmux"), "-f", "/dev/null"]

    def shown(holds: Callable[[str], bool]) -> str:
        end_s = time.monotonic() + 30
        while time.monotonic() < end_s:
            done = subprocess.run([*server, "capture-pane", "-p"], capture_output=True, text=True, check=True)
            if holds(done.stdout):
                return done.stdout
            time.sleep(0.1)
        pytest.fail(f"did not come to show it:\n{done.stdout}")

    with nobody_left(world):
        size = ("-x", "80", "-y", "24")
        environ = ("env", "LC_ALL=C.UTF-8")
        subprocess.run([*server, "new-session", "-d", *size, *environ, *console_of(world)], check=True)
        try:
            subprocess.run([*server, "set", "remain-on-exit", "on"], check=True)
            lines = shown(shows_the_fleet).splitlines()
            assert len(lines) == 24
            assert max(map(len, lines)) <= 80
            assert lines[3].split()[:3] == ["TIER", "STATE", "MARKET"]
            subprocess.run([*server, "send-keys", "?"], check=True)
            shown(lambda text: "mtok HELP" in text)
        finally:
            subprocess.run([*server, "kill-server"], check=False)
    world.database.close()
