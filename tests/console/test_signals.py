"""Signals that are held back come when they are let through, and nothing stays held."""

import signal
from collections.abc import Iterator
from contextlib import suppress
from types import FrameType

import pytest

from console.signals import ENDING, held_back, let_through


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """The ending signals that have come to a handler."""
    found: list[int] = []

    def hear(signum: int, _frame: FrameType | None) -> None:
        found.append(signum)

    before = {signum: signal.signal(signum, hear) for signum in ENDING}
    yield found
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.parametrize("signum", ENDING)
def test_a_signal_waits_for_the_end_of_the_block(heard: list[int], signum: signal.Signals) -> None:
    with held_back():
        signal.raise_signal(signum)
        assert heard == []
    assert heard == [signum]


def test_or_until_it_is_let_through(heard: list[int]) -> None:
    with held_back():
        signal.raise_signal(signal.SIGTERM)
        let_through()
        assert heard == [signal.SIGTERM]
        signal.raise_signal(signal.SIGHUP)
        assert heard == [signal.SIGTERM, signal.SIGHUP]


def test_what_fails_leaves_nothing_held(heard: list[int]) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with suppress(KeyError), held_back():
        signal.raise_signal(signal.SIGTERM)
        raise KeyError
    assert heard == [signal.SIGTERM]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
