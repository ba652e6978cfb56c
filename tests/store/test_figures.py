"""Both sides of a figure are read at the same two ticks; what is not known says why."""

from datetime import timedelta
from fractions import Fraction

from store.figures import Figures, figures
from store.readings import AgentReading
from store.unknown import Unknown
from store.usage import Usage
from store.window import Window
from tests.conftest import START, History


def read(history: History, start_s: float, end_s: float) -> Figures:
    window = Window(START + timedelta(seconds=start_s), START + timedelta(seconds=end_s))
    with history.database.read() as session:
        return figures(session, history.tier, window)


def served(found: Figures) -> Usage:
    assert isinstance(found.usage, Usage)
    return found.usage


def test_dollars_per_mtok_is_one_subtraction_divided_by_another(history: History) -> None:
    history.tick(history.bill(0), totals=history.totals(100, 50))
    history.tick(history.bill(3_000_000), totals=history.totals(1_100, 2_050))
    found = read(history, 0, 60)
    assert found.output_nusd_per_mtok == 3_000_000 * 10**6 // 2_000
    assert found.total_nusd_per_mtok == 3_000_000 * 10**6 // 3_000
    assert found.utilisation == Fraction(2_000, 60_000)


def test_an_idle_fleet_has_no_price_per_token(history: History) -> None:
    for total in (100, 200):
        history.tick(history.bill(total), totals=history.totals(10, 10))
    assert read(history, 0, 60).output_nusd_per_mtok == Unknown("no tokens")


def test_a_silent_agent_makes_the_tick_incomplete_for_its_tier(history: History) -> None:
    history.tick(history.bill(100), totals=history.totals(0, 0))
    history.tick(history.bill(200))
    assert isinstance(read(history, 0, 60).spend, Unknown)


def test_a_sleeping_agent_is_not_missed(history: History) -> None:
    history.tick(history.bill(100), totals=history.totals(5, 7))
    asleep = {"h100-a": AgentReading("h100", None, "no answer", asleep=True)}
    history.tick(history.bill(130), agents=asleep)
    found = read(history, 0, 60)
    assert served(found).completion_tokens == 0
    assert found.output_nusd_per_mtok == Unknown("no tokens")


def test_a_fallen_ledger_is_not_believed(history: History) -> None:
    history.tick(history.bill(100), totals=history.totals(50, 50))
    history.tick(history.bill(200), totals=history.totals(50, 40))
    found = read(history, 0, 60).usage
    assert isinstance(found, Unknown)
    assert "fell in completion_tokens" in found.reason or "fell in" in found.reason


def test_two_agents_with_one_ledger_are_not_believed(history: History) -> None:
    one = AgentReading("h100", history.totals(1, 1), None)
    for total in (100, 200):
        history.tick(history.bill(total), agents={"h100-a": one, "h100-b": one})
    found = read(history, 0, 60).usage
    assert isinstance(found, Unknown)
    assert "have one ledger" in found.reason


def test_a_wiped_disk_is_a_new_counter_from_zero(history: History) -> None:
    history.tick(history.bill(100), totals=history.totals(500, 500))
    history.tick(history.bill(200), totals=history.totals(600, 600))
    fresh = history.totals(20, 30, uuid="ledger-b", created_at=START + timedelta(seconds=90))
    history.tick(history.bill(300), totals=fresh)
    assert served(read(history, 0, 120)).completion_tokens == 100 + 30


def test_an_old_ledger_first_seen_late_has_an_opening(history: History) -> None:
    history.tick(history.bill(100), totals=history.totals(500, 500))
    history.tick(history.bill(200), totals=history.totals(510, 510))
    assert served(read(history, -600, 60)).completion_tokens == 10
