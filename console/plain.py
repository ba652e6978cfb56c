"""`mtok console --plain`: lines that are only ever added, and commands that are typed. No cursor, no colour."""

import os
import queue
import select
import signal
import sys
from contextlib import suppress
from types import FrameType

from console.plain_lines import changes, everything, stamped
from console.plain_talk import Talk
from console.service import Service
from console.signals import ENDING
from store.errors import ExitCode, MtokError
from store.printable import printable

_READ_EVERY_S = 1.0
_READ_BYTES = 4096
_FIRST_NOTE_S = 3.0
_FIRST_WINDOW = "5m"


class _Ended(Exception):
    """A signal."""


class _ReaderGone(Exception):
    """Nobody reads what is said."""


class _FirstSignal:
    """A handler: the first signal ends what is done; once that is over none does, or the end would be cut off."""

    is_over = False

    def __call__(self, signum: int, _frame: FrameType | None) -> None:
        if not self.is_over:
            self.is_over = True
            raise _Ended(signum)


def run_plain(service: Service, notes: "queue.SimpleQueue[str]") -> int:
    """Say what is, then what changes, until `quit`, the end of the input, or a signal.

    `notes`: what is to be said besides; lines that have been written stay, so the first one is waited for.
    """
    first = _FirstSignal()
    try:
        for signum in ENDING:
            signal.signal(signum, first)
        code = _converse(service, notes)
        first.is_over = True
    except _Ended as ended:
        code = 128 + int(ended.args[0])
    for signum in ENDING:
        signal.signal(signum, signal.SIG_IGN)  # as Python ends it takes its handlers away, but not this
    return code


def _converse(service: Service, notes: "queue.SimpleQueue[str]") -> int:
    talk = Talk(service, _FIRST_WINDOW)
    typed = bytearray()
    try:
        with suppress(queue.Empty):
            _say(service, notes.get(timeout=_FIRST_NOTE_S))
        _say(service, "type ? for what can be typed")
        while not talk.is_over:
            while not notes.empty():
                _say(service, notes.get())
            _look(service, talk)
            if not _hear(service, talk, typed):
                break
    except _ReaderGone:
        return 128 + signal.SIGPIPE
    return int(ExitCode.OK)


def _look(service: Service, talk: Talk) -> None:
    """Read the store, and say what is news: the fleet, and what is wrong with the store."""
    before, silent = talk.fleet, talk.problem
    try:
        talk.fleet, talk.problem = service.fleet(), ""
    except MtokError as error:
        talk.problem = str(error)
        if talk.problem != silent:
            _say(service, f"STALE: {error}")
        return
    if silent:
        _say(service, "the store answers again")
    _say(service, *(everything(talk.fleet, talk.window) if before is None else changes(before, talk.fleet)))


def _hear(service: Service, talk: Talk, typed: bytearray) -> bool:
    """Wait for lines, a second at most; False at the end of the input. `typed`: a line that has not ended yet.

    Read from the descriptor itself: what a buffer of Python's held back, `select` would not tell of.
    """
    if not select.select([sys.stdin], [], [], _READ_EVERY_S)[0]:
        return True
    data = os.read(sys.stdin.fileno(), _READ_BYTES)
    typed += data or b"\n"
    *lines, rest = bytes(typed).split(b"\n")
    typed[:] = rest
    for line in lines:
        if not talk.is_over:
            _say(service, *talk.feed(line.decode(errors="replace")))
    return bool(data)


def _say(service: Service, *texts: str) -> None:
    try:
        for text in texts:
            print(stamped(service.clock.now(), printable(text)))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at its end
        raise _ReaderGone from None
