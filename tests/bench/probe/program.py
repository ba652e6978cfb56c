"""A program on a pseudo-terminal of a fixed size, every byte of which is kept with its time."""

import contextlib
import errno
import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.bench.probe.machine import busy_s
from tests.bench.probe.painted import Chunk, Painted
from tests.bench.probe.stream import Answers

_OF_OTHER_TERMINALS = ("TMUX", "STY", "COLUMNS", "LINES", "TERM_PROGRAM", "VTE_VERSION", "CI")
_KEPT_WHEN_CLEAN = ("PATH", "HOME", "USER", "LANG")
_DEFAULT_SIGNALS = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGPIPE", "SIGTSTP", "SIGTTOU", "SIGTTIN")


class NoSuchProgram(Exception):
    """There is no such command here."""


@dataclass
class Setting:
    """How a program is started: its command, its terminal, its environment (`env` as NAME=VALUE)."""

    command: Sequence[str]
    cols: int = 120
    rows: int = 40
    term: str = "xterm-256color"
    colorterm: str = "truecolor"
    env: Sequence[str] = ()
    unset: Sequence[str] = ()
    clean_env: bool = False
    cwd: str | None = None
    replies: str = "modern"
    background: str = "dark"

    def environ(self) -> dict[str, str]:
        """The environment of the program."""
        kept = _KEPT_WHEN_CLEAN if self.clean_env else tuple(os.environ)
        found = {name: os.environ[name] for name in kept if name in os.environ and name not in _OF_OTHER_TERMINALS}
        found |= {"TERM": self.term, "COLORTERM": self.colorterm}
        found |= dict(pair.split("=", 1) for pair in self.env)
        gone = (*self.unset, *(() if self.colorterm else ("COLORTERM",)))
        return {name: value for name, value in found.items() if name not in gone}


@dataclass
class Program:
    """One run. `is_over`: its terminal has ended; `status`: how it ended, once it has been waited for."""

    setting: Setting
    chunks: list[Chunk] = field(default_factory=list)
    is_over: bool = False
    status: int | None = None

    def __post_init__(self) -> None:
        setting = self.setting
        self.cols, self.rows = setting.cols, setting.rows
        environ = setting.environ()
        path = shutil.which(setting.command[0], path=environ.get("PATH"))
        if path is None:
            raise NoSuchProgram(setting.command[0])
        self.fd, follower = pty.openpty()
        self._answers = Answers(setting.cols, setting.rows, setting.replies, setting.background)
        self.resize(setting.cols, setting.rows)
        self.busy_before = busy_s()
        self._began_s = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            _become(path, setting, environ, follower)
        os.close(follower)
        os.set_blocking(self.fd, False)

    def now_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began_s

    def resize(self, cols: int, rows: int) -> None:
        """Another size; the kernel sends SIGWINCH."""
        self.cols, self.rows = self._answers.cols, self._answers.rows = cols, rows
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, cols * 10, rows * 20))

    def pump(self, timeout_s: float) -> bytes:
        """Wait for output; answers what came, nothing when nothing did."""
        if self.is_over:
            time.sleep(min(timeout_s, 0.01))
            return b""
        if not select.select([self.fd], [], [], max(0.0, timeout_s))[0]:
            return b""
        at_s, data = self.now_s(), self._available()
        if data:
            self.chunks.append(Chunk(at_s, data))
            reply = self._answers.replies(data)
            if reply:
                self.send(reply)
        return data

    def _available(self) -> bytes:
        data = b""
        while True:
            try:
                part = os.read(self.fd, 65536)
            except BlockingIOError:
                return data
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                part = b""
            if not part:
                self.is_over = True
                return data
            data += part
            if len(part) < 4096:
                return data

    def send(self, data: bytes) -> None:
        """Type it."""
        view, end_s = memoryview(data), time.monotonic() + 2
        while view and time.monotonic() < end_s:
            try:
                view = view[os.write(self.fd, view) :]
            except BlockingIOError:
                select.select([], [self.fd], [], 0.05)
            except OSError:
                self.is_over = True
                return

    def play(self, steps: Sequence[bytes | float], pause_s: float) -> None:
        """Type keys, each with a pause after it; a number is a wait of its own."""
        for step in steps:
            if isinstance(step, float):
                self.pump_for(step)
            else:
                self.send(step)
                self.pump_for(pause_s)

    def pump_for(self, seconds: float) -> None:
        """Read for so long."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0 and not self.is_over:
            self.pump(left_s)

    def pump_until_quiet(self, quiet_s: float, limit_s: float) -> float | None:
        """Read until nothing has come for `quiet_s`; when the last output came, None if it went on."""
        end_s = time.monotonic() + limit_s
        last = self.chunks[-1].at_s if self.chunks else None
        while time.monotonic() < end_s and not self.is_over:
            if self.pump(quiet_s):
                last = self.chunks[-1].at_s
            elif last is not None and self.now_s() - last >= quiet_s:
                return last
        return None

    def bytes_since(self, mark: int) -> int:
        """How many bytes came after the first `mark` chunks."""
        return sum(len(chunk.data) for chunk in self.chunks[mark:])

    @property
    def stream(self) -> bytes:
        """All that it has written."""
        return b"".join(chunk.data for chunk in self.chunks)

    @property
    def painted(self) -> Painted:
        """The screen as it stands."""
        return Painted(self.cols, self.rows, self.chunks)

    def wait(self, seconds: float) -> None:
        """Read until it has ended, or for so long."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s and self.status is None:
            if self.fd >= 0:
                self.pump(0.02)
            else:
                time.sleep(0.02)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status

    def close(self) -> None:
        """Close the terminal."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd, self.is_over = -1, True

    def kill(self) -> None:
        """End its own process group however it stands."""
        self.close()
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.status = os.waitpid(self.pid, 0)[1]


def _become(path: str, setting: Setting, environ: dict[str, str], follower: int) -> None:
    """In the child: the program, with a terminal of its own and no signal ignored, as in a login shell."""
    try:
        for name in _DEFAULT_SIGNALS:
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.setsid()
        fcntl.ioctl(follower, termios.TIOCSCTTY, 0)
        for fd in (0, 1, 2):
            os.dup2(follower, fd)
        os.closerange(3, 256)
        if setting.cwd:
            os.chdir(setting.cwd)
        os.execve(path, list(setting.command), environ)
    except BaseException as error:  # noqa: BLE001 - said on its terminal, and the child ends
        os.write(2, f"cannot start: {error}\n".encode())
    os._exit(127)
