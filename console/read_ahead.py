"""A first reading made by a second process, while this one loads the screen.

To load Textual takes a tenth of a second of Python, and so does the first reading of a fleet, whose statements are
all compiled then: two threads would take turns, two processes do both at once.
"""

import os
import pickle
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, NoReturn, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """What a second process reads, once. Without a process there is nothing to take."""

    def __init__(self, pid: int | None = None, pipe: int = -1) -> None:
        self._pid, self._pipe = pid, pipe

    def taken(self, patience_s: float) -> T | None:
        """What it has read; None where it could not read, or does not answer in time: read it yourself."""
        if self._pid is None:
            return None
        try:
            if not select.select([self._pipe], [], [], patience_s)[0]:
                return None
            with open(self._pipe, "rb", closefd=False) as answer:
                pickled = answer.read()
        finally:
            self.close()
        try:
            found: T = pickle.loads(pickled)  # noqa: S301 - this very program wrote it
        except (EOFError, pickle.UnpicklingError):  # nothing, or the beginning: it was killed on its way
            return None
        return found

    def close(self) -> None:
        """Nobody will ask for it any more: the process ends now at the latest."""
        if self._pid is not None:
            os.close(self._pipe)
            os.kill(self._pid, signal.SIGKILL)  # it has ended and waits for this, or waits for a store
            os.waitpid(self._pid, 0)
            self._pid = None


@contextmanager
def read_ahead(read: Callable[[], T]) -> Iterator[Ahead[T]]:
    """`read` begins in a process of its own, which opens by itself what it reads.

    What it raises is told by nobody: whoever reads after it meets the same. A process that has threads already is
    not copied, since locks that they hold would never be given back in the copy.
    """
    if threading.active_count() > 1:
        yield Ahead()
        return
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)  # else it would wait for itself to read, for ever, when the first one is killed
        _tell(writing, read)
    os.close(writing)
    ahead: Ahead[T] = Ahead(pid, reading)
    try:
        yield ahead
    finally:
        ahead.close()


def _tell(pipe: int, read: Callable[[], object]) -> NoReturn:
    """The second process: it ends here, and not as the first one would end."""
    try:
        pickled = pickle.dumps(read(), pickle.HIGHEST_PROTOCOL)
        with open(pipe, "wb") as answer:
            answer.write(pickled)
    finally:
        os._exit(0)
