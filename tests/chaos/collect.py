"""A collector whose wall clock can be moved: `python -m tests.chaos.collect SETTINGS FILE`.

FILE holds the seconds by which it is off; the monotonic clock is the machine's own.
"""

import sys
from datetime import datetime, timedelta
from pathlib import Path

from console.commands import run_collector
from store.clock import SystemClock


class MovableClock(SystemClock):
    """The machine's clock, off by what a file says."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=float(self._file.read_text(encoding="utf-8") or 0))


if __name__ == "__main__":
    run_collector(Path(sys.argv[1]), MovableClock(Path(sys.argv[2])))
