"""Hibernating the tier under the cursor, as a person types it into a console on a pseudo-terminal."""

import re
import time

from tests.terminal import Pty

_DEAF_S = 0.4  # a dialog drops what is typed sooner
_ASKS = re.compile(r"type (\S+) to go on")
SHIFT_TAB = b"\x1b[Z"


def shows_the_fleet(text: str) -> bool:
    """Whether the fleet can be read, and nothing stands above it."""
    return all(name in text for name in ("h100", "l40", "a100", "GATE OPEN")) and "to go on" not in text


def open_dialog(terminal: Pty, *moves: bytes) -> str:
    """Ask to hibernate; answers the name that has to be typed."""
    terminal.press(*moves, b"h")
    found = _ASKS.search(terminal.until(lambda text: _ASKS.search(text) is not None))
    assert found is not None
    return found[1]


def type_name(terminal: Pty, name: str) -> None:
    """Type the tier's name: what is left is Enter."""
    time.sleep(_DEAF_S)
    terminal.press(SHIFT_TAB)
    terminal.quiet()  # the focus has moved
    terminal.press(*(letter.encode() for letter in name))
    terminal.until(lambda text: "ready: Enter acts" in text)


def cancel(terminal: Pty) -> None:
    """Close the dialog."""
    time.sleep(_DEAF_S)
    terminal.press(b"\x1b")
    terminal.until(shows_the_fleet)
