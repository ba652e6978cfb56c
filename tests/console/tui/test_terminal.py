"""How each kind of terminal is drawn on."""

import os
import termios

import pytest

from console.screen_settings import ConsoleSection
from console.tui.terminal import (
    NoScreen,
    Terminal,
    asks_background,
    background_is_light,
    is_light,
    is_utf8,
    look_for,
)

XTERM = Terminal("xterm-256color", is_tty=True, is_utf8=True, has_color=True)


@pytest.mark.parametrize(
    ("terminal", "theme", "is_ascii"),
    [
        (XTERM, "dark", False),
        (Terminal("xterm", is_tty=True, is_utf8=True, has_color=True, is_light=True), "light", False),
        (Terminal("xterm", is_tty=True, is_utf8=True, has_color=False), "ansi", False),
        (Terminal("linux", is_tty=True, is_utf8=True, has_color=True), "ansi", True),
        (Terminal("xterm", is_tty=True, is_utf8=False, has_color=True), "dark", True),
    ],
)
def test_theme_and_signs_follow_the_terminal(terminal: Terminal, theme: str, is_ascii: bool) -> None:
    look = look_for(terminal, ConsoleSection())
    assert (look.theme, look.is_ascii) == (theme, is_ascii)


def test_settings_stand_above_what_was_found() -> None:
    look = look_for(XTERM, ConsoleSection(theme="light", ascii=True, mouse=False, plain_output=True))
    assert (look.theme, look.is_ascii, look.has_mouse, look.is_thin) == ("light", True, False, False)


@pytest.mark.parametrize(("term", "is_tty"), [("dumb", True), ("", True), ("xterm", False)])
def test_what_cannot_be_drawn_on_is_refused_with_another_way(term: str, is_tty: bool) -> None:
    terminal = Terminal(term, is_tty=is_tty, is_utf8=True, has_color=True)
    with pytest.raises(NoScreen, match="--plain"):
        look_for(terminal, ConsoleSection())


@pytest.mark.parametrize(
    ("answer", "light"),
    [
        (b"\x1b]11;rgb:ffff/ffff/ffff\x1b\\\x1b[?62;4c", True),
        (b"\x1b]11;rgb:1e/1e/2e\a\x1b[?1;2c", False),
        (b"\x1b[?1;2c", None),
        (b"", None),
    ],
)
def test_a_background_is_light_by_its_luma(answer: bytes, light: bool | None) -> None:
    assert is_light(answer) is light


def test_a_terminal_is_not_asked_where_the_answer_does_not_matter() -> None:
    assert asks_background(XTERM, ConsoleSection())
    assert not asks_background(XTERM, ConsoleSection(theme="dark"))
    assert not asks_background(Terminal("linux", is_tty=True, is_utf8=True, has_color=True), ConsoleSection())


@pytest.mark.parametrize(
    ("environ", "encoding", "says"),
    [
        ({"LC_ALL": "en_US.ISO-8859-1"}, "utf-8", False),
        ({"LANG": "de_DE.UTF-8@euro"}, "utf-8", True),
        ({"LC_ALL": "", "LC_CTYPE": "C.UTF-8", "LANG": "de_DE.ISO-8859-15"}, "utf-8", True),
        ({}, "utf-8", True),
        ({"LANG": "de_DE"}, "iso8859-1", False),
    ],
)
def test_a_locale_counts_by_its_name_installed_or_not(environ: dict[str, str], encoding: str, says: bool) -> None:
    assert is_utf8(environ, encoding) is says


def test_a_terminal_that_is_stopped_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.tui.terminal._ANSWERS_WITHIN_S", 0.05)
    ours, theirs = os.openpty()
    try:
        termios.tcflow(theirs, termios.TCOOFF)  # as Ctrl-S does
        assert background_is_light(theirs, theirs) is None
    finally:
        os.close(ours)
        os.close(theirs)
