"""A second process that reads for this one while it loads its screen.

To load Textual takes a tenth of a second of Python, to load SQLAlchemy and to read a fleet through it three times
that: two threads would take turns, two processes do both at once.
"""

import os
import pickle
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

_LENGTH = 8  # bytes, before each thing that is told


class Ahead:
    """The second process: asked once, it answers with one thing after the other. Without one nothing comes."""

    def __init__(self, pid: int | None = None, line: socket.socket | None = None) -> None:
        self._pid, self._line = pid, line

    def ask(self, question: object) -> None:
        """What it is to read."""
        if self._line is not None:
            try:
                _tell(self._line, question)
            except OSError:  # it has ended
                self.close()

    def taken(self, patience_s: float) -> Any:
        """The next thing; None where it could not read, or does not answer in time: then nothing else comes."""
        if self._line is None:
            return None
        try:
            return _heard(self._line, time.monotonic() + patience_s)
        except (EOFError, TimeoutError):
            self.close()
            return None

    def close(self) -> None:
        """Nobody will ask for it any more: the process ends now at the latest."""
        if self._pid is not None and self._line is not None:
            pid, line, self._pid, self._line = self._pid, self._line, None, None
            line.close()
            os.kill(pid, signal.SIGKILL)  # it has ended and waits for this, or waits for a store
            os.waitpid(pid, 0)


@contextmanager
def read_ahead(warm: Callable[[], object], answer: Callable[[Any], Iterable[object]]) -> Iterator[Ahead]:
    """A process of its own calls `warm`, waits for what it is asked, and tells what `answer` yields.

    What it raises is told by nobody: whoever reads after it meets the same. A process that has threads already is
    not copied, since locks that they hold would never be given back in the copy; nor where no more are allowed.
    """
    if threading.active_count() > 1:
        yield Ahead()
        return
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it was inherited as ignored, whoever ends is gone at once
    ours, theirs = socket.socketpair()
    try:
        pid = os.fork()
    except OSError:
        ours.close()
        theirs.close()
        yield Ahead()
        return
    if pid == 0:
        ours.close()  # else it would wait for itself to read, for ever, when the first one is killed
        _read(theirs, warm, answer)
    theirs.close()
    ahead = Ahead(pid, ours)
    try:
        yield ahead
    finally:
        ahead.close()


def _read(line: socket.socket, warm: Callable[[], object], answer: Callable[[Any], Iterable[object]]) -> NoReturn:
    """The second process: it ends here, and not as the first one would end."""
    try:
        warm()
        for one in answer(_heard(line, None)):
            _tell(line, one)
    finally:
        os._exit(0)


def _tell(line: socket.socket, one: object) -> None:
    pickled = pickle.dumps(one, pickle.HIGHEST_PROTOCOL)
    line.sendall(len(pickled).to_bytes(_LENGTH) + pickled)


def _heard(line: socket.socket, until_s: float | None) -> Any:
    """The next thing that is told.

    Raises:
        EOFError: nobody is there to tell it.
        TimeoutError: it does not come in time.
    """
    length = int.from_bytes(_received(line, _LENGTH, until_s))
    return pickle.loads(_received(line, length, until_s))  # noqa: S301 - this very program wrote it


def _received(line: socket.socket, count: int, until_s: float | None) -> bytes:
    found = bytearray()
    while len(found) < count:
        left_s = None if until_s is None else max(until_s - time.monotonic(), 0)
        if not select.select([line], [], [], left_s)[0]:
            raise TimeoutError
        try:
            read = line.recv(count - len(found))
        except ConnectionError:
            read = b""
        if not read:
            raise EOFError
        found += read
    return bytes(found)
