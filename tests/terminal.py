"""A program on a pseudo-terminal: what it sends, what a person would see, what it leaves behind."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import pyte

_QUERIES = (  # a terminal answers in the order in which it is asked: the background, then the attributes
    (re.compile(rb"\x1b\]11;\?(?:\x07|\x1b\\)"), b"\x1b]11;rgb:1212/1212/1212\x1b\\"),
    (re.compile(rb"\x1b\[c"), b"\x1b[?62;22c"),
    (re.compile(rb"\x1b\[\?2026\$p"), b"\x1b[?2026;2$y"),
    (re.compile(rb"\x1b\[\?2048\$p"), b"\x1b[?2048;0$y"),
    (re.compile(rb"\x1b\[6n"), b"\x1b[1;1R"),
)
_MODES = re.compile(rb"\x1b\[\?([\d;]+)([hl])")
_LEFT_ON = {"1049": "alternate screen", "1000": "mouse", "1003": "mouse movement", "2004": "bracketed paste"}
_FOREIGN = re.compile(rb"\x1b\[[<>=][0-9;]*[a-zA-Z]|\x1bP.*?\x1b\\|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)", re.S)


class TerminalGone(Exception):
    """The program has ended."""


class Pty:
    """One program, from its start to its end. `sent`: everything that it has written, piece by piece.

    While `is_silent` it is answered nothing, until `answer`.
    """

    is_silent = False

    def __init__(
        self, command: Sequence[str], cols: int, rows: int, environ: Mapping[str, str] | None = None
    ) -> None:
        self.cols, self.rows = cols, rows
        self.sent: list[bytes] = []
        self._screen = pyte.Screen(cols, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.pid, self._fd = pty.fork()
        if self.pid == 0:  # the child
            os.closerange(3, 256)
            for name in ("COLUMNS", "LINES"):  # they would stand above the terminal's own size
                os.environ.pop(name, None)
            os.environ.update({"TERM": "xterm-256color", "COLORTERM": "truecolor", **(environ or {})})
            os.execvpe(command[0], list(command), os.environ)  # without: readline's own, which no pop reaches
        self.resize(cols, rows)

    def resize(self, cols: int, rows: int) -> None:
        """Another size, and the signal that tells of it."""
        self.cols, self.rows = cols, rows
        self._screen.resize(rows, cols)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def read(self, within_s: float) -> bytes:
        """What comes within a time, answered as a terminal answers; empty when nothing came.

        Raises:
            TerminalGone: the program has ended.
        """
        if not select.select([self._fd], [], [], within_s)[0]:
            return b""
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError:
            raise TerminalGone(self.text) from None
        if not data:
            raise TerminalGone(self.text)
        self.sent.append(data)
        if not self.is_silent:
            self.answer(data)
        self._stream.feed(_FOREIGN.sub(b"", data))
        return data

    def answer(self, data: bytes) -> None:
        """Answer as a terminal does what it is asked in `data`."""
        for query, answer in _QUERIES:
            for _ in query.findall(data):
                os.write(self._fd, answer)

    def until_sent(self, piece: bytes, within_s: float = 20.0) -> None:
        """Read until it has written this."""
        end_s = time.monotonic() + within_s
        while piece not in b"".join(self.sent):
            if time.monotonic() > end_s:
                raise AssertionError(f"has not sent {piece!r}")
            self.read(0.05)

    def until(self, holds: Callable[[str], bool], within_s: float = 20.0) -> str:
        """Read until what is shown makes `holds` true; answers the screen."""
        end_s = time.monotonic() + within_s
        while not holds(self.text):
            if time.monotonic() > end_s:
                raise AssertionError(f"did not come to show it:\n{self.text}")
            self.read(0.05)
        return self.text

    def quiet(self, for_s: float = 0.3) -> None:
        """Read until nothing has come for a while."""
        while self.read(for_s):
            pass

    def watch(self, for_s: float) -> int:
        """How many bytes come in this time."""
        before, end_s = sum(map(len, self.sent)), time.monotonic() + for_s
        while (left_s := end_s - time.monotonic()) > 0:
            self.read(left_s)
        return sum(map(len, self.sent)) - before

    def press(self, *keys: bytes) -> None:
        """Type."""
        for key in keys:
            os.write(self._fd, key)
            self.read(0.05)

    @property
    def text(self) -> str:
        """What a person sees."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    @property
    def cells(self) -> list[list[tuple[str, str, str, bool, bool]]]:
        """Every cell: its glyph and colours."""
        return [
            [_cell(self._screen.buffer[y][x]) for x in range(self._screen.columns)]
            for y in range(self._screen.lines)
        ]

    def signal(self, signum: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, signum)

    def hang_up(self) -> int:
        """Close the terminal, as a dropped connection does; answers the exit status."""
        self._close()
        return self._waited()

    def ended(self) -> int:
        """Read to its end; answers the exit status."""
        with contextlib.suppress(TerminalGone):
            while self.read(20.0):
                pass
        return self._waited()

    def left_on(self) -> set[str]:
        """Modes of the terminal that were switched on and never off."""
        state: dict[str, bool] = {}
        for codes, which in _MODES.findall(b"".join(self.sent)):
            for code in codes.decode().split(";"):
                state[code] = which == b"h"
        on = {name for code, name in _LEFT_ON.items() if state.get(code)}
        return on | ({"hidden cursor"} if state.get("25") is False else set())

    def is_raw(self) -> bool:
        """Whether what is typed is not shown, or comes key by key."""
        flags: int = termios.tcgetattr(self._fd)[3]
        return flags & (termios.ECHO | termios.ICANON) != termios.ECHO | termios.ICANON

    def kill(self) -> None:
        """End it however it stands."""
        self._close()
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _waited(self, within_s: float = 20.0) -> int:
        end_s = time.monotonic() + within_s
        while time.monotonic() < end_s:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        raise AssertionError(f"process {self.pid} has not ended")


def _cell(char: pyte.screens.Char) -> tuple[str, str, str, bool, bool]:
    """What can be seen of a cell: a space has no colour of its own, unless it is reversed."""
    if char.data == " " and not char.reverse:
        return (" ", "", char.bg, False, False)
    return (char.data, char.fg, char.bg, char.bold, char.reverse)


@contextlib.contextmanager
def on_pty(
    command: Sequence[str], cols: int = 80, rows: int = 24, environ: Mapping[str, str] | None = None
) -> Iterator[Pty]:
    """A program on a terminal of its own while the block runs."""
    terminal = Pty(command, cols, rows, environ)
    try:
        yield terminal
    finally:
        terminal.kill()
