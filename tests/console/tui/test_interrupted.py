"""A signal while what was confirmed is being done: the store has all of it or nothing, the terminal is put back."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.console.tui.confirmed import open_dialog, shows_the_fleet, type_name
from tests.console.tui.live_store import asked, console_of, live_world, nobody_left
from tests.terminal import on_pty

pytestmark = pytest.mark.processes
_AFTER_S = [n / 200 for n in range(20)] if os.environ.get("MTOK_PROVE") else [0.0]


@pytest.mark.parametrize("after_s", _AFTER_S)
def test_sigterm_right_after_confirming(tmp_path: Path, after_s: float) -> None:
    world = live_world(tmp_path)
    with nobody_left(world), on_pty(console_of(world)) as terminal:
        terminal.until(shows_the_fleet)
        name = open_dialog(terminal)
        type_name(terminal, name)
        os.write(terminal._fd, b"\r")
        time.sleep(after_s)
        terminal.signal(signal.SIGTERM)
        assert terminal.ended() == 143
        assert terminal.left_on() == set()
    assert asked(world) in ([name], [])
    world.database.close()
