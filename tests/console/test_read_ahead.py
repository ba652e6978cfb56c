"""The second process that reads while the first one loads."""

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
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


def nothing() -> None:
    """What needs no import."""


def test_what_it_is_asked_is_answered_by_another_process(forked: list[int]) -> None:
    with read_ahead(nothing, lambda asked: (asked, os.getpid())) as ahead:
        ahead.ask(["which", 1])
        assert ahead.taken(10) == ["which", 1]
        assert [ahead.taken(10)] == forked != [os.getpid()]
        assert ahead.taken(10) is None
        assert has_gone(forked[0])


def test_it_imports_before_it_is_asked(forked: list[int]) -> None:
    ready, told = os.pipe()
    with read_ahead(lambda: os.write(told, b"!"), lambda asked: [asked]) as ahead:
        assert os.read(ready, 1) == b"!"
        ahead.ask(1)
        assert ahead.taken(10) == 1
    assert has_gone(forked[0])
    os.close(ready)
    os.close(told)


def test_more_than_a_socket_holds(forked: list[int]) -> None:
    with read_ahead(nothing, lambda asked: [asked * 3_000_000]) as ahead:
        ahead.ask("x")
        assert ahead.taken(10) == "x" * 3_000_000
    assert has_gone(forked[0])


def test_who_cannot_read_says_nothing(forked: list[int], capfd: pytest.CaptureFixture[str]) -> None:
    with read_ahead(nothing, lambda _: [1 // 0]) as ahead:
        ahead.ask(1)
        assert ahead.taken(10) is None
    assert capfd.readouterr() == ("", "")
    assert has_gone(forked[0])


def test_who_has_ended_cannot_be_asked(forked: list[int]) -> None:
    with read_ahead(lambda: os._exit(0), lambda asked: [asked]) as ahead:
        os.waitid(os.P_PID, forked[0], os.WEXITED | os.WNOWAIT)
        ahead.ask("x" * 3_000_000)
        assert ahead.taken(10) is None
    assert has_gone(forked[0])


def test_half_an_answer_is_none(forked: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def half(line: socket.socket, _one: object) -> None:
        line.sendall((100).to_bytes(8) + b"half")

    def breaks_off(_asked: object) -> Iterator[object]:
        yield "whole"
        monkeypatch.setattr("console.read_ahead._tell", half)  # in the second process alone
        yield "cut"

    with read_ahead(nothing, breaks_off) as ahead:
        ahead.ask(1)
        assert ahead.taken(10) == "whole"
        assert ahead.taken(10) is None
    assert has_gone(forked[0])


def silent(_question: object) -> Iterator[object]:
    time.sleep(60)
    yield None


def test_nobody_waits_for_a_store_that_does_not_answer(forked: list[int]) -> None:
    begun_s = time.monotonic()
    with read_ahead(nothing, silent) as ahead:
        ahead.ask(1)
        assert ahead.taken(0.05) is None
    assert time.monotonic() - begun_s < 30
    assert has_gone(forked[0])


def test_it_ends_where_nobody_asks(forked: list[int]) -> None:
    with pytest.raises(KeyError), read_ahead(nothing, lambda asked: [asked]):
        raise KeyError
    assert has_gone(forked[0])


def test_the_copy_of_a_killed_process_ends_too(forked: list[int]) -> None:
    """Nobody asks any more, and nobody reads: it holds no end of its own that could."""
    for asks in (True, False):
        own, theirs = os.pipe()
        first = os.fork()
        if first == 0:
            os.setsid()
            os.close(own)
            with read_ahead(nothing, lambda _: ["x" * 3_000_000]) as ahead:
                if asks:
                    ahead.ask(1)
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
        with read_ahead(nothing, lambda asked: [asked]) as ahead:
            ahead.ask(1)
            assert ahead.taken(10) is None
        assert forked == []
    finally:
        done.set()
        other.join()


def test_where_no_more_processes_are_allowed_nothing_is_read_ahead(
    monkeypatch: pytest.MonkeyPatch, forked: list[int]
) -> None:
    def refused() -> None:
        raise BlockingIOError

    monkeypatch.setattr(os, "fork", refused)
    with read_ahead(nothing, lambda asked: [asked]) as ahead:
        ahead.ask(1)
        assert ahead.taken(10) is None
    assert forked == []


def test_it_is_waited_for_where_ended_processes_were_to_be_ignored(forked: list[int]) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with read_ahead(nothing, lambda asked: [asked]) as ahead:
            ahead.ask(1)
            assert ahead.taken(10) == 1
        assert has_gone(forked[0])
    finally:
        signal.signal(signal.SIGCHLD, before)
