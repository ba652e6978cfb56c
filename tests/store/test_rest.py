"""Asleep is believed when the bill agrees: at rest, or rising as storage alone does."""

from datetime import timedelta

from store.rest import is_at_rest, rest_needed
from tests.conftest import History

EVERY = timedelta(seconds=60)
PER_MINUTE = 2_000_000_000 // 60


def billed(history: History, minutes: int, per_minute: int, start: int) -> int:
    total = start
    for _ in range(minutes):
        history.tick(history.bill(total))
        total += per_minute
    return total


def rests(history: History, since_min: float) -> bool | None:
    since = history.clock.now() - timedelta(minutes=since_min)
    with history.database.read() as session:
        return is_at_rest(session, "h100", since, EVERY)


def test_a_bill_that_stands_still_is_at_rest_once_it_was_watched_long_enough(history: History) -> None:
    total = billed(history, 8, PER_MINUTE, 10**10)
    with history.database.read() as session:
        assert rest_needed(session, "h100", EVERY) == timedelta(minutes=3)
    billed(history, 4, 0, total)
    assert rests(history, 4) is None  # what was billed before the sleep may still arrive
    billed(history, 2, 0, total)
    assert rests(history, 6) is True


def test_a_bill_that_rises_as_storage_does_is_at_rest(history: History) -> None:
    total = billed(history, 8, PER_MINUTE, 10**10)
    total = billed(history, 2, 0, total)
    billed(history, 6, PER_MINUTE // 100, total)
    assert rests(history, 8) is True


def test_a_bill_that_goes_on_rising_is_not(history: History) -> None:
    total = billed(history, 8, PER_MINUTE, 10**10)
    billed(history, 6, PER_MINUTE, total)
    assert rests(history, 6) is False


def test_a_bill_that_was_credited_and_goes_on_rising_is_not_at_rest(history: History) -> None:
    """Its debits stand for three steps after the credit, until it is known what the fall was."""
    total = billed(history, 8, PER_MINUTE, 10**10)
    billed(history, 4, PER_MINUTE, total - 50 * PER_MINUTE)
    assert rests(history, 8) is False


def test_an_hour_that_began_asleep_is_judged_by_what_its_resource_cost_awake(history: History) -> None:
    """A bucket of its own quotes the price of its storage alone: by that it would never rest."""
    storage = PER_MINUTE // 100
    billed(history, 8, PER_MINUTE, 10**10)
    began_at = history.clock.now()
    for minute in range(9):
        asleep = {"counter": "usage:vm:8429:later", "started_at": began_at, "rate_nusd_per_hour": 60 * storage}
        history.tick(history.bill(10**10 + 8 * PER_MINUTE), history.bill(minute * storage, **asleep))
    assert rests(history, 8) is True


def test_a_tier_without_a_bill_has_nothing_to_wait_for(history: History) -> None:
    with history.database.read() as session:
        assert is_at_rest(session, "other", history.clock.now(), EVERY) is True
        assert rest_needed(session, "other", EVERY) == timedelta(minutes=2)
