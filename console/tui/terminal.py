"""What the terminal is like: asked once, before the first frame."""

import contextlib
import os
import re
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from console.screen_settings import ConsoleSection
from console.signals import held_back
from console.tui.look import Look
from store.errors import MtokError

_BACKGROUND = re.compile(rb"\x1b\]11;rgb:([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})")
_ATTRIBUTES = re.compile(rb"\x1b\[\?[0-9;]*c")
_ANSWERS_WITHIN_S = 3.0  # every terminal answers; on a slow line late, and it must not answer into the screen


class NoScreen(MtokError):
    """A terminal that cannot be drawn on."""

    def __init__(self, why: str) -> None:
        super().__init__(f"console: {why}; use `mtok console --plain`, or `--once`, with --at too")
        self.why = why


@dataclass(frozen=True, slots=True)
class Terminal:
    """What is known of a terminal. `is_light`: its background, None where it did not say."""

    term: str
    is_tty: bool
    is_utf8: bool
    has_color: bool
    is_light: bool | None = None


def this_terminal(environ: Mapping[str, str]) -> Terminal:
    """The terminal that this process runs in, its background not asked for; a page of `--web` is one too."""
    if environ.get("TEXTUAL_DRIVER", "").endswith(":WebDriver"):
        return Terminal("xterm-256color", is_tty=True, is_utf8=True, has_color=True)
    return Terminal(
        term=environ.get("TERM", ""),
        is_tty=sys.stdin.isatty() and sys.stdout.isatty(),
        is_utf8=is_utf8(environ, sys.stdout.encoding or ""),
        has_color=not environ.get("NO_COLOR"),
    )


def is_utf8(environ: Mapping[str, str], encoding: str) -> bool:
    """Whether the locale is one of UTF-8. Where it is not installed here Python says so of any: its name counts."""
    named = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    charset = named.partition(".")[2].partition("@")[0] or encoding
    return charset.lower().replace("-", "") == "utf8"


def look_for(terminal: Terminal, section: ConsoleSection) -> Look:
    """How to draw on it.

    Raises:
        NoScreen: it is no terminal, or one without a cursor.
    """
    if not terminal.is_tty:
        raise NoScreen("this is no terminal")
    if terminal.term in ("", "dumb"):
        raise NoScreen(f"a terminal of the kind {terminal.term or 'unknown'!r} cannot be drawn on")
    is_ascii = section.ascii if section.ascii is not None else not terminal.is_utf8 or terminal.term == "linux"
    return Look(
        theme=_theme(terminal, section),
        is_ascii=is_ascii,
        is_thin=not section.plain_output,
        erases=terminal.term.startswith(("xterm", "tmux", "foot", "alacritty", "kitty", "ghostty", "wezterm")),
        has_mouse=section.mouse,
        keys=section.keys,
    )


def asks_background(terminal: Terminal, section: ConsoleSection) -> bool:
    """Whether the terminal's background matters, and may be asked for."""
    return (
        section.theme == "auto"
        and terminal.is_tty
        and terminal.has_color
        and terminal.term not in ("linux", "dumb")
    )


def _theme(terminal: Terminal, section: ConsoleSection) -> str:
    if not terminal.has_color:  # the ansi themes alone send no colour at all then
        return "ansi-light" if section.theme in ("light", "ansi-light") else "ansi"
    if section.theme != "auto":
        return section.theme
    if terminal.term == "linux":
        return "ansi"
    return "light" if terminal.is_light else "dark"


def background_is_light(fd_in: int, fd_out: int) -> bool | None:
    """Ask the terminal for its background (OSC 11), and for its attributes, which every terminal answers last.

    A signal that would end us waits as long as we do: the terminal is put back first, and its answer is ours.

    Source: xterm's control sequences, OSC 11 and DA1.
    """
    try:
        with held_back(), _raw(fd_in):
            if not select.select([], [fd_out], [], _ANSWERS_WITHIN_S)[1]:  # it has been stopped, by Ctrl-S
                return None
            os.write(fd_out, b"\x1b]11;?\x1b\\\x1b[c")
            answer = _answer(fd_in)
    except (OSError, termios.error):
        return None
    return is_light(answer)


def is_light(answer: bytes) -> bool | None:
    """Whether the background that a terminal names is a light one; None when it names none."""
    found = _BACKGROUND.search(answer)
    if found is None:
        return None
    red, green, blue = (int(part, 16) / (16 ** len(part) - 1) for part in found.groups())
    return bool(0.299 * red + 0.587 * green + 0.114 * blue > 0.5)  # ITU-R BT.601, luma


def _answer(fd: int) -> bytes:
    answer, until_s = b"", time.monotonic() + _ANSWERS_WITHIN_S
    while (left_s := until_s - time.monotonic()) > 0 and not _ATTRIBUTES.search(answer):
        if select.select([fd], [], [], left_s)[0]:
            answer += os.read(fd, 1024)
    return answer


@contextlib.contextmanager
def _raw(fd: int) -> Iterator[None]:
    kept = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd, termios.TCSANOW)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSAFLUSH, kept)  # what comes late is dropped, with what was typed ahead
