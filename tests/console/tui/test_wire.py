"""On a real pseudo-terminal: how few bytes, the same screen either way, and nothing left behind."""

import os
import pty
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from console.tui.ends import terminal_is_gone
from tests.console.tui.live_store import live_world
from tests.terminal import Pty, on_pty

pytestmark = pytest.mark.processes


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "tests.bench.live_fleet", *options]


def is_shown(text: str) -> bool:
    return "tier-0001" in text and "WINDOW" in text and "type tier" not in text


def played(terminal: Pty) -> list[object]:
    """A session of keys, dialogs and sizes; what can be seen after each step."""
    seen: list[object] = []

    def step(holds: Callable[[str], bool], *keys: bytes) -> None:
        terminal.press(*keys)
        terminal.until(holds)
        terminal.quiet(0.5)
        seen.append(terminal.cells)

    step(is_shown)
    step(lambda text: " tier-0001  L40" in text, b"j", b"j", b"k")
    step(lambda text: "type tier-0001" in text, b"h")
    step(is_shown, b"\x1b")
    step(lambda text: "mtok HELP" in text, b"7")
    step(lambda text: "OUT 1h" in text, b"1", b"]")
    terminal.resize(100, 30)
    step(lambda text: len(text.splitlines()[0]) > 90)
    terminal.press(b"/", b"0", b"1")
    terminal.until(lambda text: "11 of 20" in text)
    step(lambda text: "h Hibernate" in text and "/ Filter" in text, b"\r")
    step(is_shown, b"\x0c")  # ctrl+l
    return seen


BLIND = (
    "import sys, console.queries as r, console.screen as s; s._OPENED_WITHIN_S = s._READ_WITHIN_S = 60; "
    "r.Queries.database = property(lambda self: 1 / 0); "
    "from console.main import main; sys.exit(main())"
)


def test_what_is_shown_first_was_read_by_the_second_process(tmp_path: Path) -> None:
    """The first one cannot even open the store here, and shows the fleet."""
    world = live_world(tmp_path)
    options = ("console", "--no-collect", "--config", str(world.settings.path))
    with on_pty([sys.executable, "-c", BLIND, *options], 80, 24) as terminal:
        terminal.until(lambda text: "h100" in text)
    world.database.close()


def test_only_changed_cells_draw_the_same_screen() -> None:
    still = ("--tiers", "20", "--changes", "0")
    with on_pty(command(*still), 80, 24) as terminal:
        thin = played(terminal)
        thin_bytes = sum(map(len, terminal.sent))
    with on_pty(command(*still, "--plain-output"), 80, 24) as terminal:
        plain = played(terminal)
        assert thin_bytes * 3 < sum(map(len, terminal.sent))
    for n, (one, other) in enumerate(zip(thin, plain, strict=True)):
        assert one == other, f"step {n} differs"


def test_a_screen_is_drawn_each_time_that_somebody_goes_to_it() -> None:
    names = ("TIER", "BAND", "GATE", "BILLING", "JOURNAL", "HELP", "FLEET")
    keys = dict(zip("2345671", names, strict=True))
    with on_pty(command("--tiers", "3"), 80, 24) as terminal:
        terminal.until(is_shown)
        for key in "23456712716572431":
            terminal.press(key.encode())
            terminal.until(lambda text, key=key: f"mtok {keys[key]}" in text)  # type: ignore[misc]


def test_the_byte_budget_holds() -> None:
    """50 tiers at 120x40: 8 kB the first screen, nothing while nothing changes, 1 kB/s while 50 cells do."""
    with on_pty(command("--tiers", "50", "--changes", "0"), 120, 40) as terminal:
        terminal.until(is_shown)
        terminal.quiet()
        assert sum(map(len, terminal.sent)) <= 8_000
        assert any(terminal.watch(2.5) == 0 for _ in range(5))  # what is drawn each second leaves no such pause
    with on_pty(command("--tiers", "50", "--changes", "50"), 120, 40) as terminal:
        terminal.until(is_shown)
        terminal.quiet(0.2)
        assert terminal.watch(4.0) <= 4_000


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_leaves_the_terminal_as_it_was(signum: signal.Signals, status: int) -> None:
    with on_pty(command("--tiers", "3")) as terminal:
        terminal.until(is_shown)
        terminal.signal(signum)
        assert terminal.ended() == status
        assert terminal.left_on() == set()


@pytest.mark.parametrize("rest_s", [0.0, 0.2, 1.0])
def test_a_dropped_connection_ends_it(rest_s: float) -> None:
    """Also in the middle of drawing: the kernel sends SIGCONT after SIGHUP, and Textual would draw on nothing."""
    with on_pty(command("--tiers", "30", "--changes", "30"), 120, 40) as terminal:
        terminal.until(is_shown)
        terminal.watch(rest_s)
        terminal.press(b"j")
        assert terminal.hang_up() == 129


def test_a_terminal_that_has_gone_is_seen_without_a_signal_too() -> None:
    ours, theirs = pty.openpty()
    assert not terminal_is_gone(theirs)
    os.close(ours)
    assert terminal_is_gone(theirs)
    os.close(theirs)
