"""Nothing but a fresh lease opens an agent."""

from datetime import UTC, datetime

import pytest

from agent.lease import LeaseBook
from store.clock import SetClock


@pytest.fixture
def clock() -> SetClock:
    return SetClock(datetime(2026, 11, 24, tzinfo=UTC))


def take(book: LeaseBook, nonce: str, n: int = 1, *reasons: str, ttl_s: float = 100) -> bool:
    return book.take(nonce, (1, n), is_open=not reasons, reasons=reasons, ttl_s=ttl_s)


def code(book: LeaseBook) -> str | None:
    closed = book.closed()
    return closed.code if closed else None


def test_an_agent_begins_closed(clock: SetClock) -> None:
    assert code(LeaseBook(clock)) == "no_lease"


def test_a_lease_opens_until_it_runs_out(clock: SetClock) -> None:
    book = LeaseBook(clock)
    assert take(book, book.issue_nonce())
    assert code(book) is None
    clock.advance(99.9)
    assert code(book) is None
    clock.advance(0.2)
    assert code(book) == "no_lease"


def test_its_time_runs_from_when_the_nonce_was_issued(clock: SetClock) -> None:
    book = LeaseBook(clock)
    nonce = book.issue_nonce()
    clock.advance(101)  # a delayed lease, or a captured one
    assert take(book, nonce)
    assert code(book) == "no_lease"


def test_it_knows_for_how_long_it_has_been_closed(clock: SetClock) -> None:
    book = LeaseBook(clock)
    late = book.issue_nonce()
    clock.advance(10)
    assert book.closed_for_s == 10  # it never was open
    take(book, book.issue_nonce(), 1)
    assert book.closed_for_s == 0
    clock.advance(1)
    take(book, book.issue_nonce(), 2, "dark")
    clock.advance(5)
    take(book, book.issue_nonce(), 3, "exhausted")  # the reason changes, not the moment
    assert book.closed_for_s == 5
    clock.advance(90)
    take(book, late, 4)  # it opens nothing any more
    assert book.closed_for_s == 95
    take(book, book.issue_nonce(), 5)
    clock.advance(130)
    assert book.closed_for_s == 30  # since its end, not since anybody asked
    take(book, book.issue_nonce(), 6)
    book.stop()
    clock.advance(2)
    assert (book.closed_for_s, book.left_s) == (2, 0)


def test_a_jump_of_the_wall_clock_changes_nothing(clock: SetClock) -> None:
    book = LeaseBook(clock)
    take(book, book.issue_nonce())
    clock.jump(-86_400)
    clock.advance(101)
    assert code(book) == "no_lease"


def test_an_older_or_repeated_seq_is_refused(clock: SetClock) -> None:
    book = LeaseBook(clock)
    nonce = book.issue_nonce()
    assert take(book, nonce, 5)
    assert not take(book, nonce, 5)
    assert not book.take(nonce, (0, 9), is_open=True, reasons=(), ttl_s=100)
    assert take(book, nonce, 6, "dark")
    assert code(book) == "billing_unobservable"


def test_another_lifes_nonce_is_refused(clock: SetClock) -> None:
    nonce = LeaseBook(clock).issue_nonce()
    assert not take(LeaseBook(clock), nonce)


def test_only_the_newest_nonces_are_remembered(clock: SetClock) -> None:
    book = LeaseBook(clock)
    first = book.issue_nonce()
    for _ in range(64):
        book.issue_nonce()
    assert not take(book, first)


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        (("unobserved",), "billing_unobservable"),
        (("dark", "exhausted"), "billing_unobservable"),
        (("exhausted",), "budget_exhausted"),
        (("dark", "draining"), "draining"),
        (("manual",), "gate_closed"),
    ],
)
def test_a_closed_lease_says_why(clock: SetClock, reasons: tuple[str, ...], expected: str) -> None:
    book = LeaseBook(clock)
    take(book, book.issue_nonce(), 1, *reasons)
    closed = book.closed()
    assert closed is not None
    assert closed.code == expected
    assert closed.message.endswith(".")
    assert closed.retry_after_s > 0


def test_a_captured_lease_is_worth_nothing_twice_nor_after_a_closing(clock: SetClock) -> None:
    book = LeaseBook(clock)
    nonce = book.issue_nonce()
    assert take(book, nonce, 1)
    assert not take(book, nonce, 1)  # replayed
    assert take(book, book.issue_nonce(), 2, "manual")
    assert not take(book, nonce, 1)  # replayed after the closing
    assert code(book) == "gate_closed"
    clock.advance(50)
    assert take(book, nonce, 3, ttl_s=40)  # delayed until it is over: its time ran from the nonce on
    assert code(book) == "no_lease"


def test_a_new_leader_overrules_and_an_old_one_does_not(clock: SetClock) -> None:
    book = LeaseBook(clock)
    nonces = [book.issue_nonce() for _ in range(3)]
    assert book.take(nonces[0], (2, 1), is_open=False, reasons=("manual",), ttl_s=100)
    assert not book.take(nonces[1], (1, 99), is_open=True, reasons=(), ttl_s=100)
    assert code(book) == "gate_closed"
    assert book.take(nonces[2], (3, 1), is_open=True, reasons=(), ttl_s=100)
    assert code(book) is None


@pytest.mark.parametrize("jump_s", [86_400, -86_400])
def test_a_day_of_clock_jump_neither_lengthens_nor_ends_a_lease(clock: SetClock, jump_s: float) -> None:
    book = LeaseBook(clock)
    assert take(book, book.issue_nonce())
    clock.jump(jump_s)
    assert code(book) is None
    clock.advance(100.1)
    assert code(book) == "no_lease"
