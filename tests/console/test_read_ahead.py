"""The second process that reads while the first one loads."""

import os
import pickle
import select
import signal
import threading
import time
from contextlib import suppress

import pytest

from console.read_ahead import read_ahead


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The processes that were made. A runner of tests may have threads of its own, which are not counted here."""
    others = threading.active_count() - 1
    monkeypatch.setattr(threading, "active_count", lambda: len(threading.enumerate()) - others)
    pids: list[int] = []
    fork = os.fork

    def noted() -> int:
        pid = fork()
        if pid:
            pids.append(pid)
        return pid

    monkeypatch.setattr(os, "fork", noted)
    return pids


def has_gone(pid: int) -> bool:
    """Whether a process of ours has ended and been reaped."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


def test_what_it_reads_is_read_in_another_process(forked: list[int]) -> None:
    with read_ahead(os.getpid) as ahead:
        assert [ahead.taken(10)] == forked != [os.getpid()]
        assert has_gone(forked[0])
        assert ahead.taken(10) is None


def test_more_than_a_pipe_holds(forked: list[int]) -> None:
    with read_ahead(lambda: "x" * 3_000_000) as ahead:
        assert ahead.taken(10) == "x" * 3_000_000
    assert has_gone(forked[0])


def test_who_cannot_read_says_nothing(forked: list[int], capfd: pytest.CaptureFixture[str]) -> None:
    with read_ahead(lambda: 1 // 0) as ahead:
        assert ahead.taken(10) is None
    assert capfd.readouterr() == ("", "")
    assert has_gone(forked[0])


def test_half_an_answer_is_none(forked: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle, "dumps", lambda *_: b"\x80\x05X\xff\x00\x00\x00half")
    with read_ahead(os.getpid) as ahead:
        assert ahead.taken(10) is None
    assert has_gone(forked[0])


def test_nobody_waits_for_a_store_that_does_not_answer(forked: list[int]) -> None:
    begun_s = time.monotonic()
    with read_ahead(lambda: time.sleep(60)) as ahead:
        assert ahead.taken(0.05) is None
    assert time.monotonic() - begun_s < 30
    assert has_gone(forked[0])


def test_it_ends_where_nobody_asks(forked: list[int]) -> None:
    with pytest.raises(KeyError), read_ahead(lambda: time.sleep(60)):
        raise KeyError
    assert has_gone(forked[0])


def test_the_copy_of_a_killed_process_ends_too(forked: list[int]) -> None:
    """Nobody reads any more, and more is said than a pipe holds: it holds no end of its own that could."""
    own, theirs = os.pipe()
    first = os.fork()
    if first == 0:
        os.setsid()
        os.close(own)
        with read_ahead(lambda: "x" * 3_000_000):
            os._exit(0)
    os.close(theirs)
    os.waitpid(first, 0)
    try:
        assert select.select([own], [], [], 30)[0]  # the copy held the other end as long as it lived
    finally:
        os.close(own)
        with suppress(ProcessLookupError):
            os.killpg(first, signal.SIGKILL)


def test_a_process_with_threads_is_not_copied(forked: list[int]) -> None:
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    try:
        with read_ahead(os.getpid) as ahead:
            assert ahead.taken(10) is None
        assert forked == []
    finally:
        done.set()
        other.join()
