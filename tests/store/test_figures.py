"""Both sides of a figure are read at the same two ticks; what is not known says why."""

from datetime import timedelta
from fractions import Fraction

from store.check import check
from store.figures import Figures, Usage
from store.figures_read import figures
from store.journal_read import entries
from store.readings import AgentReading
from store.unknown import Unknown
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


def test_instances_ran_on_while_their_provider_did_not_say_how_many(history: History) -> None:
    history.tick(history.bill(0), totals=history.totals(0, 0), running=2)
    for minute in range(1, 5):
        history.tick(history.bill(minute), totals=history.totals(0, 0, busy_ms=minute * 30_000), running=2)
    for minute in range(5, 9):
        busy = history.totals(0, 0, busy_ms=minute * 30_000)
        history.tick(problem="HTTP 500", totals=busy, running=None, after_s=minute)
    history.clock.advance(214)
    history.tick(history.bill(9), totals=history.totals(0, 0, busy_ms=480_000), running=1)
    usage = served(read(history, 0, 3600))
    assert usage.running_ms == 2 * (300 + 5 + 6 + 7) * 1000 + (8 + 214) * 1000


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


def test_a_restored_ledger_is_counted_on_and_only_windows_over_its_fall_are_unknown(history: History) -> None:
    for minute, total in enumerate((0, 500, 1000, 400, 600, 1001)):
        assert history.tick(history.bill(minute * 1_000), totals=history.totals(total, total))
    assert served(read(history, 0, 120)).completion_tokens == 1000
    assert served(read(history, 180, 300)).completion_tokens == 601
    for start_s, end_s in ((0, 180), (120, 180), (120, 300), (-600, 300)):
        found = read(history, start_s, end_s).usage
        assert isinstance(found, Unknown)
        assert "what it served from 2026-11-24T08:02:00Z to 2026-11-24T08:03:00Z is lost" in found.reason
    assert [finding.problem for finding in check(history.database)] == []
    with history.database.read() as session:
        assert [(entry.what, entry.subject) for entry in entries(session, 9)] == [
            ("ledger fell", "ledger ledger-a")
        ]


def test_a_ledger_falls_again_and_while_its_tier_is_renamed(history: History) -> None:
    for minute, (total, tier) in enumerate(((900, "h100"), (400, "h100"), (300, "h200"), (350, "h200"))):
        history.tier = tier
        assert history.tick(history.bill(minute * 1_000), totals=history.totals(total, total))
    assert served(read(history, 120, 180)).completion_tokens == 50
    assert isinstance(read(history, 60, 180).usage, Usage)  # h200 has no tick before the fall


def test_a_clone_that_answers_while_its_original_is_silent_is_not_believed(history: History) -> None:
    silent = AgentReading("h100", None, "no answer", asleep=True)
    one = AgentReading("h100", history.totals(50, 50), None)
    history.tick(history.bill(100), agents={"h100-a": one, "h100-b": silent})
    other = AgentReading("h100", history.totals(50, 40), None)
    history.tick(history.bill(200), agents={"h100-a": silent, "h100-b": other})
    found = read(history, 0, 60).usage
    assert isinstance(found, Unknown)
    assert "agent h100-a had its ledger" in found.reason


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
