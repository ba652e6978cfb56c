"""The signals that end a console, and how they are held back while a terminal is half-way between two states."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@contextmanager
def held_back() -> Iterator[None]:
    """What comes meanwhile is delivered after the block, or by `let_through` in it.

    For the main thread, which signals are delivered to. Threads that begin meanwhile go on leaving them to it; a
    process that began meanwhile could not be ended.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_through() -> None:
    """The handlers stand that put the terminal back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
