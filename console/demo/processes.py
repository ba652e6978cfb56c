"""The demo's processes: each in a session of its own, with a log, ending with the demo."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from store.errors import MtokError

_STOPS_WITHIN_S = 8.0  # an agent ends its requests first


class DemoFailed(MtokError):
    """A part of the demo did not start or has ended by itself."""

    def __init__(self, part: str, problem: str, log: Path) -> None:
        super().__init__(f"demo: {part} {problem}; its log is {log}\n{_tail(log)}")
        self.part, self.problem, self.log = part, problem, log


class Child:
    """One process of the demo, running from its construction until `stop`."""

    def __init__(self, part: str, command: Sequence[str], log: Path) -> None:
        self.part, self.log = part, log
        with log.open("ab") as sink:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "console.demo.child", *command],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,  # Ctrl-C reaches the demo alone, which then ends them in order
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it is still there."""
        return self._process.poll() is None

    def check(self) -> None:
        """Complain about a process that has ended by itself.

        Raises:
            DemoFailed: it has.
        """
        if not self.runs:
            raise DemoFailed(self.part, f"ended with exit code {self._process.returncode}", self.log)

    def ask_to_stop(self) -> None:
        """Send SIGTERM, and do not wait."""
        if self.runs:
            self._process.send_signal(signal.SIGTERM)

    def stop(self, within_s: float = _STOPS_WITHIN_S) -> None:
        """Ask it to end, wait, and end it if it does not."""
        self.ask_to_stop()
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def wait_for_file(path: Path, child: Child, within_s: float) -> str:
    """The text of a file that `child` writes when it is ready.

    Raises:
        DemoFailed: it ended, or did not write in time.
    """
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if path.exists() and (text := path.read_text(encoding="utf-8").strip()):
            return text
        child.check()
        time.sleep(0.05)
    raise DemoFailed(child.part, f"was not ready within {within_s:g} s", child.log)


def _tail(log: Path) -> str:
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-3:])
    except OSError:
        return ""
