"""Why an edge cannot be given, in one sentence, by whichever tick kept it from being complete."""

from datetime import timedelta

from store.figures_read import figures, figures_of
from store.readings import AgentReading
from store.unknown import Unknown
from store.window import Window
from tests.conftest import START, History
from tests.databases import statements

MINUTE = timedelta(minutes=1)


def why(history: History, start: int, end: int, tier: str = "h100") -> str:
    """Why there are no edges between two minutes."""
    window = Window(START + start * MINUTE, START + end * MINUTE)
    with history.database.read() as session:
        found = figures(session, tier, window).edges
    assert isinstance(found, Unknown)
    return found.reason


def test_before_the_first_tick_there_is_none(history: History) -> None:
    assert why(history, 0, 5) == "no complete tick yet"


def test_ticks_that_were_never_complete_say_what_was_missing(history: History) -> None:
    history.tick(history.bill(1), agents={"x": AgentReading("h100", None, "no route")})
    assert why(history, 0, 5) == "no complete tick yet: agent x: no route"
    assert why(history, -9, -5) == "no complete tick yet"


def test_a_window_after_the_last_complete_tick_says_since_when_and_why(history: History) -> None:
    history.tick(history.bill(1), totals=history.totals(1, 1))
    history.tick(history.bill(2), totals=history.totals(2, 2))
    assert why(history, 5, 9).endswith(
        "no complete tick since 2026-11-24T08:01:00Z: the collector has not ticked since"
    )
    history.tick(problem="HTTP 500")
    assert why(history, 5, 9) == "no complete tick since 2026-11-24T08:01:00Z: HTTP 500"


def test_a_fleet_that_has_stopped_is_asked_why_in_one_statement(history: History) -> None:
    tiers = [f"tier{n}" for n in range(50)]
    history.tick(problem="HTTP 500")
    windows = [Window(history.clock.now() - length * MINUTE, history.clock.now()) for length in (5, 60, 1440)]
    with statements(history.database) as sent, history.database.read() as session:
        found = figures_of(session, ["h100", *tiers], windows)
    assert sum("tier_ticks.problem" in one for one in sent) == 1
    assert [one.edges for one in found["h100"]] == [Unknown("no complete tick yet: HTTP 500")] * 3
    assert [one.edges for one in found["tier49"]] == [Unknown("no complete tick yet")] * 3
