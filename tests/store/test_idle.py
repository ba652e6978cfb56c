"""Idle is what the ledgers say: counters that do not move. Silence is not idleness."""

from datetime import timedelta

from store.idle import is_idle
from store.inventory import keep_agent, keep_resources, mark_unreachable
from store.tables import AgentRow
from store.words import State
from tests.conftest import History, an_instance

AFTER = timedelta(minutes=15)
FRESH = timedelta(minutes=3)


def keep(history: History, *, in_flight: int = 0, state: State = State.RUNNING) -> None:
    at = history.clock.now()
    row = an_instance(state, at)
    with history.database.write() as session:
        keep_resources(session, "cloud", [row], at, complete=True)
        keep_agent(session, AgentRow(agent="h100-a", tier="h100", seen_at=at, in_flight=in_flight))


def served(history: History, minutes: int, per_minute: int, start: int = 0, **changes: int) -> int:
    total = start
    for _ in range(minutes):
        keep(history, in_flight=changes.get("in_flight", 0))
        history.tick(history.bill(10**10), totals=history.totals(total, total))
        total += per_minute
    return total


def idle(history: History, min_awake: timedelta = timedelta(0)) -> bool:
    with history.database.read() as session:
        agents = {"h100-a": "8429"}
        return is_idle(session, "h100", agents, history.clock.now(), AFTER, min_awake, FRESH)


def test_counters_that_have_not_moved_for_long_enough_are_idle(history: History) -> None:
    total = served(history, 5, 100)
    served(history, 14, 0, total)
    assert not idle(history)
    served(history, 3, 0, total)
    assert idle(history)


def test_one_token_is_enough_to_be_awake(history: History) -> None:
    total = served(history, 20, 0, 500)
    assert idle(history)
    served(history, 1, 0, total + 1)
    assert not idle(history)


def test_a_request_in_flight_is_not_idle(history: History) -> None:
    served(history, 20, 0, 500, in_flight=1)
    assert not idle(history)


def test_an_agent_that_cannot_be_reached_is_not_idle(history: History) -> None:
    served(history, 20, 0, 500)
    with history.database.write() as session:
        mark_unreachable(session, "h100-a", "h100", "no answer within 10 s")
    assert not idle(history)


def test_an_agent_that_was_last_heard_long_ago_is_not_idle(history: History) -> None:
    served(history, 20, 0, 500)
    history.clock.advance(600)
    assert not idle(history)


def test_a_ledger_that_is_new_is_not_idle(history: History) -> None:
    """A wiped disk: nothing is known of the time before."""
    served(history, 20, 0, 500)
    keep(history)
    history.tick(history.bill(10**10), totals=history.totals(500, 500, uuid="ledger-b"))
    assert not idle(history)


def test_a_tier_that_has_only_just_woken_is_not_idle(history: History) -> None:
    served(history, 20, 0, 500)
    keep(history, state=State.ASLEEP)
    served(history, 2, 0, 500)
    assert not idle(history)
    served(history, 15, 0, 500)
    assert idle(history)
    assert not idle(history, min_awake=timedelta(minutes=30))


def test_a_tier_without_agents_is_never_idle(history: History) -> None:
    with history.database.read() as session:
        assert not is_idle(session, "other", {}, history.clock.now(), AFTER, timedelta(0), FRESH)
