"""How the screen ends: on a signal, and when its terminal has gone, whatever it is doing just then.

Textual has no handler for SIGTERM and SIGHUP. And when a terminal goes, the kernel sends SIGCONT after SIGHUP, on
which Textual draws anew, on a terminal that takes nothing any more: the main thread would wait for ever, and its
event loop with it. So these are handlers of the process, not of the loop; a timer is the last resort.
"""

import asyncio
import os
import select
import signal
import sys
import threading
from collections.abc import Mapping
from functools import partial
from types import FrameType, MappingProxyType
from typing import TYPE_CHECKING, Any

from textual.app import App

from console.signals import ENDING, let_through

_WITHIN_S = 8.0  # longer than the store's busy timeout: what was being written is written, or was not
_LOOKS_EVERY_S = 0.01

if TYPE_CHECKING:
    _Base = App[None]
else:
    _Base = object


class Ends(_Base):
    """For an App. `is_hung_up`: its terminal has gone, and cannot be put back."""

    is_hung_up = False
    _last_resort: threading.Timer | None = None
    _before: Mapping[int, Any] = MappingProxyType({})

    def end_on_signals(self) -> None:
        """From now on, and by what was held back; called in the event loop, once the driver has its handlers."""
        if self.is_headless:
            return
        self._events = asyncio.get_running_loop()
        resume = signal.getsignal(signal.SIGCONT)
        self._before = {signum: signal.signal(signum, self._end) for signum in ENDING}
        signal.signal(signal.SIGCONT, partial(self._resume, resume))
        let_through()

    def end_if_hung_up(self) -> None:
        """Where nobody sends SIGHUP (nohup, a session of its own): look."""
        if not self.is_headless and not self.is_hung_up and terminal_is_gone():
            self._end(signal.SIGHUP, None)

    def has_ended(self) -> None:
        """The screen is over by itself: no last resort is needed, and signals are whose they were."""
        if self._last_resort is not None:
            self._last_resort.cancel()
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        signal.signal(signal.SIGCONT, signal.SIG_DFL)

    def _end(self, signum: int, _frame: FrameType | None) -> None:
        self.is_hung_up = self.is_hung_up or signum == signal.SIGHUP
        if self._last_resort is None:
            self._last_resort = threading.Timer(_WITHIN_S, os._exit, (128 + signum,))
            self._last_resort.daemon = True
            self._last_resort.start()
            self._events.call_soon_threadsafe(self._leave, 128 + signum)

    def _leave(self, code: int) -> None:
        """Once its screens stand: Textual fails where it has to take one down that is half made."""
        if all(screen.is_mounted for screen in self.screen_stack):
            self.exit(None, code)
        else:
            self._events.call_later(_LOOKS_EVERY_S, self._leave, code)

    def _resume(self, resume: Any, signum: int, frame: FrameType | None) -> None:
        if not self.is_hung_up and not terminal_is_gone() and callable(resume):
            resume(signum, frame)


def terminal_is_gone(fd: int | None = None) -> bool:
    """Whether the other end of a terminal, standard input's where none is named, has been closed."""
    poll = select.poll()
    try:
        poll.register(fd if fd is not None else sys.__stdin__.fileno() if sys.__stdin__ else 0, 0)
        return any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))
    except (OSError, ValueError):
        return True
