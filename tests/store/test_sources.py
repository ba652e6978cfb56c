"""How each source answers: what was missed, when, why, and how often its bill moves."""

from datetime import timedelta

import pytest

from store.readings import AgentReading
from store.sources import SourceHealth, Stretch, sources
from store.tables import TierTick
from store.unknown import Unknown
from store.words import State
from tests.conftest import START, History

MINUTE = timedelta(minutes=1)


def read(history: History, minute: int) -> tuple[SourceHealth, SourceHealth]:
    with history.database.read() as session:
        provider, agent = sources(session, ["cloud"], START + MINUTE * minute)
    return provider, agent


@pytest.fixture
def told(history: History) -> History:
    """Twelve minutes: two without a bill, one with another problem, one silent agent."""
    for minute in range(12):
        problem = {4: "HTTP 500", 5: "HTTP 500", 6: "timeout"}.get(minute)
        bill = history.bill(10**9 + minute * 1000, as_of=history.clock.now() - timedelta(seconds=20))
        totals = None if minute == 8 else history.totals(minute, minute)
        history.tick(*(() if problem else (bill,)), problem=problem, totals=totals)
    return history


def test_a_providers_gaps_are_stretches(told: History) -> None:
    cloud, _ = read(told, 11)
    assert (cloud.kind, cloud.name, cloud.problem) == ("provider", "cloud", None)
    assert (cloud.complete, cloud.incomplete) == (9, 3)
    assert cloud.last_complete_at == START + 11 * MINUTE
    assert cloud.gaps == (
        Stretch(START + 6 * MINUTE, START + 7 * MINUTE, 1, "timeout"),
        Stretch(START + 4 * MINUTE, START + 6 * MINUTE, 2, "HTTP 500"),
    )
    assert (cloud.latency_median_ms, cloud.latency_p95_ms) == (5, 5)
    assert (cloud.step, cloud.lag) == (MINUTE, timedelta(seconds=20))


def test_a_gap_that_goes_on_has_no_end(told: History) -> None:
    cloud, _ = read(told, 5)
    assert cloud.gaps == (Stretch(START + 4 * MINUTE, None, 2, "HTTP 500"),)
    assert (cloud.problem, cloud.last_complete_at) == ("HTTP 500", START + 3 * MINUTE)


def test_an_agents_silence_is_a_stretch_too(told: History) -> None:
    _, agent = read(told, 11)
    assert (agent.kind, agent.name, agent.tier, agent.problem) == ("agent", "h100-a", "h100", None)
    assert (agent.complete, agent.incomplete) == (11, 1)
    assert agent.gaps == (Stretch(START + 8 * MINUTE, START + 9 * MINUTE, 1, "no answer"),)
    assert isinstance(agent.step, Unknown)
    assert isinstance(agent.latency_median_ms, Unknown)
    assert read(told, 8)[1].problem == "no answer"


def sleeping(history: History, minutes: int, answers: int = 0) -> None:
    """So many ticks at which the tier is asleep; its agent answers at the first `answers` of them."""
    for minute in range(minutes):
        at = history.clock.now()
        totals = history.totals(99, 99) if minute < answers else None
        said = AgentReading("h100", totals, None if totals else "no answer (its instance is asleep)", asleep=True)
        history.tick(history.bill(10**9), agents={"h100-a": said})
        with history.database.write() as session:
            session.get_one(TierTick, ("h100", at)).state = State.ASLEEP


def test_an_agent_of_a_tier_that_sleeps_is_no_gap(told: History) -> None:
    sleeping(told, 5)
    _, agent = read(told, 16)
    assert agent.gaps == (Stretch(START + 8 * MINUTE, START + 9 * MINUTE, 1, "no answer"),)
    assert (agent.complete, agent.incomplete, agent.asleep) == (11, 1, 5)
    assert agent.problem == "no answer (its instance is asleep)"
    told.tick(told.bill(2 * 10**9))  # awake again, and silent
    _, agent = read(told, 17)
    assert agent.gaps[0] == Stretch(START + 17 * MINUTE, None, 1, "no answer")
    assert (agent.complete, agent.incomplete, agent.asleep) == (11, 2, 5)


def test_a_gap_before_a_sleep_does_not_last_as_long_as_the_sleep(told: History) -> None:
    told.tick(told.bill(2 * 10**9))
    sleeping(told, 5)
    told.tick(told.bill(2 * 10**9))
    _, agent = read(told, 18)
    assert agent.gaps[:2] == (
        Stretch(START + 18 * MINUTE, None, 1, "no answer"),
        Stretch(START + 12 * MINUTE, START + 13 * MINUTE, 1, "no answer"),
    )


def test_what_an_agent_of_a_tier_that_sleeps_still_says_counts_neither_way(history: History) -> None:
    sleeping(history, 4, answers=1)
    _, agent = read(history, 3)
    assert (agent.complete, agent.incomplete, agent.asleep, agent.gaps) == (0, 0, 4, ())
    assert agent.last_complete_at == START


def test_an_agent_that_never_answered_is_there(history: History) -> None:
    for minute in range(3):
        agents = {"x": AgentReading("h100", None, "no route")} if minute else {}
        history.tick(history.bill(10**9), agents=agents)
    _, agent = read(history, 2)
    assert (agent.name, agent.last_complete_at, agent.problem) == ("x", None, "no route")
    assert (agent.complete, agent.incomplete) == (0, 2)


def test_an_agent_that_nobody_asks_any_more_was_not_complete_since(told: History) -> None:
    for _ in range(5):
        told.tick(told.bill(2 * 10**9), agents={})
    _, agent = read(told, 16)
    assert (agent.complete, agent.incomplete, agent.problem) == (11, 1, None)
    assert agent.last_complete_at == START + 11 * MINUTE


def test_a_provider_that_was_never_asked_says_so(history: History) -> None:
    with history.database.read() as session:
        (found,) = sources(session, ["cloud"], START)
    assert found.problem == "never asked"
    assert found.last_complete_at is None
    assert isinstance(found.latency_median_ms, Unknown)
    assert isinstance(found.lag, Unknown)


def test_a_provider_that_has_not_been_asked_for_a_day_says_so(history: History) -> None:
    history.tick(problem="HTTP 500")
    with history.database.read() as session:
        (found,) = sources(session, ["cloud"], START + timedelta(days=2))
    assert (found.problem, found.last_complete_at) == ("not asked for a day", None)
