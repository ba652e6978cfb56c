"""A signal at a bad moment: the terminal is put back, and the store has all of what is being done, or nothing."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.fleet_world import FleetWorld
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


_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetWorld]:
    made = live_world(tmp_path_factory.mktemp("starts"))
    yield made
    made.database.close()


@pytest.mark.parametrize("signum", _ENDING)
def test_a_signal_while_the_terminal_is_asked(world: FleetWorld, signum: signal.Signals) -> None:
    with nobody_left(world), on_pty(console_of(world)) as terminal:
        terminal.is_silent = True
        terminal.until_sent(b"\x1b[c")
        assert terminal.is_raw()
        terminal.signal(signum)
        terminal.is_silent = False
        terminal.answer(b"".join(terminal.sent))
        assert terminal.ended() == (
            130 if signum == signal.SIGINT else -signum
        )  # no screen yet: as any program ends
        assert not terminal.is_raw()


@pytest.mark.parametrize("signum", _ENDING)
@pytest.mark.parametrize(
    "piece", [b"\x1b[?1049h", b"\x1b[?1003h", b"\x1b[?2004h"], ids=["screen", "mouse", "paste"]
)
def test_a_signal_while_the_screen_begins(world: FleetWorld, piece: bytes, signum: signal.Signals) -> None:
    with nobody_left(world), on_pty(console_of(world)) as terminal:
        terminal.until_sent(piece)
        terminal.signal(signum)
        assert terminal.ended() == 128 + signum
        assert terminal.left_on() == set()
        assert not terminal.is_raw()
        assert "failed" not in terminal.text
