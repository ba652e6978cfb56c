"""Every way a counter can behave, one at a time: what spend says, and what a person is told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlmodel import select

from store.backfill import missing_samples
from store.check import check
from store.derived import add_derived
from store.errors import ClockBehind, DerivedRefused, SettleRefused
from store.figures import Spend, Usage
from store.figures_read import figures
from store.gate import GatePolicy, Reason
from store.journal_read import entries
from store.readings import AgentReading, Bill, ProviderReading, TickReadings, TierResources
from store.reconcile import counted
from store.samples import record_tick
from store.settle import settle
from store.spend import debits_by_tier
from store.tables import BillCounter, BillSample, Gap, ProviderTick, ResourceRow
from store.unknown import Unknown
from store.verdicts import verdict_now
from store.window import Window, named_window
from store.words import IGNORED, UNASSIGNED
from tests.conftest import START, History, billed_in, debits_between

OTHER = {"counter": "usage:vm:9000", "resource_id": "9000", "name": "other"}


def spent(history: History, start_s: float, end_s: float, tier: str = "h100") -> int | Unknown:
    window = Window(START + timedelta(seconds=start_s), START + timedelta(seconds=end_s))
    with history.database.read() as session:
        found = billed_in(session, tier, window)
    return found.nusd if isinstance(found, Spend) else found


def vanish(history: History, *bills: Bill) -> bool:
    """A tick at which the provider, answering soundly, denies the other counter."""
    readings = TickReadings(
        at=history.clock.now(),
        duration_ms=5,
        providers={"cloud": ProviderReading(bills, None, 5, frozenset({OTHER["counter"]}))},
        agents={"h100-a": AgentReading("h100", history.totals(0, 0), None)},
        tiers={"h100": TierResources("cloud", history.resources, running=1)},
    )
    complete = record_tick(history.database, readings, history.fence)
    history.clock.advance(60)
    return complete


def journaled(history: History) -> list[str]:
    with history.database.read() as session:
        return [entry.what for entry in entries(session, 50)]


@pytest.fixture
def lost(history: History) -> History:
    """A history whose second counter the provider has denied three times."""
    for total in (100, 200):
        history.tick(history.bill(total), history.bill(total, **OTHER), totals=history.totals(0, 0))
    assert [vanish(history, history.bill(300 + tick)) for tick in range(3)] == [False, False, True]
    return history


def test_a_counter_that_vanished_for_good_makes_figures_unsettled(lost: History) -> None:
    found = spent(lost, 0, 299)
    assert isinstance(found, Unknown)
    assert "mtok counter settle" in found.reason
    assert spent(lost, 0, 60) == 200  # what was known before it vanished is known still
    with lost.database.read() as session:
        assert isinstance(debits_between(session, START, lost.clock.now()), Unknown)
        policy = GatePolicy(10**12, ZoneInfo("UTC"), timedelta(seconds=170))
        assert verdict_now(session, policy, lost.clock.now()).reasons[-1] == Reason.UNSETTLED
    assert "bill unsettled" in journaled(lost)


@pytest.mark.parametrize(("total", "spend_nusd"), [(None, 302), (450, 552)])
def test_an_engineer_settles_it_with_a_reason(lost: History, total: int | None, spend_nusd: int) -> None:
    with lost.database.write() as session:
        id_ = session.exec(select(BillCounter.id).where(BillCounter.counter == OTHER["counter"])).one()
        assert id_ is not None
        with pytest.raises(SettleRefused, match="a reason is needed"):
            settle(session, lost.clock.now(), id_, actor="ada", reason=" ")
        with pytest.raises(SettleRefused, match="no such counter"):
            settle(session, lost.clock.now(), 99, actor="ada", reason="deleted by hand")
        settle(session, lost.clock.now(), id_, actor="ada", reason="deleted by hand", total_nusd=total)
        with pytest.raises(SettleRefused, match="is not unsettled"):
            settle(session, lost.clock.now(), id_, actor="ada", reason="again")
    lost.clock.advance(60)
    assert lost.tick(lost.bill(302), totals=lost.totals(0, 0))
    assert spent(lost, 0, 400) == spend_nusd
    assert "counter settled" in journaled(lost)


def test_a_settled_total_below_the_last_reading_is_refused(lost: History) -> None:
    with lost.database.write() as session:
        id_ = session.exec(select(BillCounter.id).where(BillCounter.counter == OTHER["counter"])).one()
        with pytest.raises(DerivedRefused, match="between its neighbours"):
            settle(session, lost.clock.now(), id_ or 0, actor="ada", reason="typo", total_nusd=199)


def test_a_counter_found_again_ran_on(lost: History) -> None:
    assert lost.tick(lost.bill(400), lost.bill(900, **OTHER), totals=lost.totals(0, 0))
    assert spent(lost, 0, 360) == 300 + 800
    assert "bill found again" in journaled(lost)


def test_the_windowed_bill_could_settle_it(lost: History) -> None:
    with lost.database.read() as session:
        found = list(missing_samples(session, "cloud", lost.clock.now(), ZoneInfo("UTC"), timedelta(minutes=5)))
    (last,) = [one for one in found if one.settles]
    assert (last.resource, last.base_nusd) == (("instance", "9000"), 200)
    assert last.ask == (START + timedelta(seconds=60), START + timedelta(seconds=240))


def test_what_a_machine_was_billed_that_was_created_in_an_outage_is_placed_at_the_days_edge(
    history: History,
) -> None:
    born, midnight = START + timedelta(hours=12), START + timedelta(hours=16)
    for minute in range(2):
        history.tick(history.bill(minute), totals=history.totals(0, 0))
    history.clock.advance(18 * 3600 - 120)
    for minute in range(360, 363):  # of its life, at a nano-dollar a minute
        told = history.bill(minute, **OTHER, started_at=born)
        history.tick(history.bill(1080), told, totals=history.totals(0, 0))
    now = history.clock.now()
    with history.database.read() as session:
        found = list(missing_samples(session, "cloud", now, ZoneInfo("UTC"), timedelta(minutes=5)))
    (missing,) = [one for one in found if one.resource == ("instance", "9000")]
    assert (missing.at, missing.base_nusd, missing.ask) == (midnight, 0, (born, midnight))
    with history.database.write() as session:
        counter = session.get_one(BillCounter, missing.counter_id)
        add_derived(session, counter, midnight, 240, "0 + 0.00000024 (windowed bill)")
        assert counter.opening_nusd == 0
    with history.database.read() as session:
        days = [debits_between(session, *day) for day in ((START, midnight), (midnight, now))]
        parts = [list(counted(session, "cloud", *day))[-1].nusd for day in ((START, midnight), (midnight, now))]
    assert (days, parts) == ([240 + 1, 362 - 240 + 1079], [240, 362 - 240])
    assert spent(history, 0, 18 * 3600 + 120) == 362 + 1080
    assert check(history.database) == []


def test_a_resource_that_moves_leaves_its_history_behind(history: History) -> None:
    def told(total: int, tier: str) -> None:
        bill = history.bill(total, tier=tier)
        agents = {"a": AgentReading(tier, history.totals(total, total), None)}
        tiers = {name: TierResources("cloud", frozenset(), 1) for name in ("h100", "l40")}
        readings = TickReadings(history.clock.now(), 5, {"cloud": ProviderReading((bill,), None, 5)}, agents, tiers)
        assert record_tick(history.database, readings, history.fence)
        history.clock.advance(60)

    for total, tier in ((100, "h100"), (200, "h100"), (350, "l40"), (500, "l40")):
        told(total, tier)
    assert spent(history, 0, 180, "h100") == 100
    assert spent(history, 0, 180, "l40") == 300  # from the old tier's last sample on: nothing is lost between them
    with history.database.read() as session:
        window = Window(START, history.clock.now())
        made = [figures(session, tier, window).usage for tier in ("h100", "l40")]
        assert [one.completion_tokens for one in made if isinstance(one, Usage)] == [100, 300]
        assert debits_between(session, START, history.clock.now()) == 400
    assert journaled(history).count("tier changed") == 2


def test_an_unsettled_counter_that_another_tier_has_now_is_settled(lost: History) -> None:
    lost.tick(lost.bill(400), lost.bill(900, tier="l40", **OTHER), totals=lost.totals(0, 0))
    with lost.database.read() as session:
        rows = session.exec(select(BillCounter).where(BillCounter.resource_id == "9000")).all()
        assert [(row.tier, row.vanished_at, row.unsettled_at) for row in rows] == [
            ("h100", None, None),
            ("l40", None, None),
        ]
        assert debits_between(session, START, lost.clock.now()) == 300 + 800
    assert spent(lost, 0, 360) == 300 + 100
    assert {"bill found again", "tier changed"} <= set(journaled(lost))


def test_a_counter_of_another_tier_begins_as_its_last_sample_was_stated(history: History) -> None:
    trailing = {"as_of": START - timedelta(seconds=20)}
    history.tick(history.bill(100, **trailing), totals=history.totals(0, 0))
    history.tick(history.bill(200, tier="l40"), totals=history.totals(0, 0))
    with history.database.read() as session:
        moved = session.exec(select(BillSample).where(BillSample.origin == "moved")).one()
    assert (moved.at, moved.as_of_at, moved.total_nusd) == (START, START - timedelta(seconds=20), 100)


def test_what_has_risen_since_an_open_fall_is_debited_where_another_tier_goes_on(history: History) -> None:
    history.tick()
    for total in (0, 50, 20, 30):
        history.tick(history.bill(total, started_at=START + timedelta(seconds=30)), totals=history.totals(0, 0))
    history.tick(history.bill(35, tier="l40"), totals=history.totals(0, 0))
    with history.database.read() as session:
        assert debits_between(session, START, history.clock.now()) == 50 + 10 + 5


def test_what_has_risen_since_an_open_fall_is_debited_where_the_currency_changes(history: History) -> None:
    history.tick()
    for total in (0, 50, 20, 30):
        history.tick(history.bill(total, started_at=START + timedelta(seconds=30)), totals=history.totals(0, 0))
    history.tick(history.bill(30, currency="EUR"), totals=history.totals(0, 0))
    with history.database.read() as session:
        found = debits_by_tier(session, START, history.clock.now())
    assert [one.nusd for one in found if one.currency == "USD"] == [50 + 10]


def test_what_has_risen_since_an_open_fall_is_debited_where_a_counter_is_settled(history: History) -> None:
    history.tick()
    for total in (0, 50, 20, 30):
        history.tick(history.bill(total, started_at=START + timedelta(seconds=30), **OTHER))
    for _ in range(3):
        vanish(history)
    with history.database.write() as session:
        row = session.exec(select(BillCounter)).one()
        settle(session, history.clock.now(), row.id or 0, actor="ada", reason="deleted by the provider")
    with history.database.read() as session:
        assert debits_between(session, START, history.clock.now()) == 50 + 10


def test_a_bill_in_another_currency_is_another_counter(history: History) -> None:
    for minute in range(6):
        currency = "USD" if minute < 3 else "EUR"
        history.tick(history.bill(minute * 100, currency=currency), totals=history.totals(0, 0))
    with history.database.read() as session:
        window = [
            Window(START, START + timedelta(minutes=2)),
            Window(START + timedelta(minutes=3), START + timedelta(minutes=5)),
        ]
        found = [billed_in(session, "h100", one) for one in window]
        debits = [(one.currency, one.nusd) for one in debits_by_tier(session, START, history.clock.now())]
    assert [(one.nusd, one.currency) for one in found if isinstance(one, Spend)] == [(200, "USD"), (200, "EUR")]
    assert debits == [("USD", 200), ("EUR", 200)]
    for start_s, end_s in ((0, 180), (120, 180), (120, 300), (-600, 300)):  # what was billed across is in neither
        assert spent(history, start_s, end_s) == Unknown("bills in EUR and USD, which are never summed")
    assert "currency changed" in journaled(history)
    assert check(history.database) == []


def test_a_resource_that_is_billed_from_now_on_is_watched_from_now_on(history: History) -> None:
    row: dict[str, Any] = {
        "resource_id": "8429",
        "tier": "h100",
        "name": "",
        "state": "running",
        "raw_state": "",
        "can_sleep": True,
    }
    policy = GatePolicy(10**12, ZoneInfo("UTC"), timedelta(seconds=170))

    def told(*, excluded: bool) -> tuple[tuple[Reason, ...], list[str]]:
        history.tick(history.bill(0, excluded=excluded), totals=history.totals(0, 0))
        with history.database.read() as session:
            verdict = verdict_now(session, policy, history.clock.now())
        return verdict.reasons, [term.counter for term in verdict.facts.terms]

    with history.database.write() as session:
        session.add(ResourceRow(provider="cloud", kind="instance", seen_at=START, **row))
    assert [told(excluded=True) for _ in range(30)][-1] == ((), [])
    assert [told(excluded=False) for _ in range(15)][-1] == ((), ["usage:vm:8429"])
    assert told(excluded=False)[0] == (Reason.FROZEN,)
    assert told(excluded=True) == ((), [])
    assert journaled(history) == ["bill excluded from billing", "bill included in billing"]


def test_what_is_ignored_is_shown_and_counted_nowhere(history: History) -> None:
    for total in (100, 200):
        mine = history.bill(total)
        theirs = history.bill(total * 10, tier=IGNORED, **OTHER)
        nobodys = history.bill(total * 2, tier=UNASSIGNED, counter="usage:vm:1", resource_id="1")
        history.tick(mine, theirs, nobodys, totals=history.totals(0, 0))
    assert (spent(history, 0, 60), spent(history, 0, 60, IGNORED), spent(history, 0, 60, UNASSIGNED)) == (
        100,
        1000,
        200,
    )
    with history.database.read() as session:
        assert debits_between(session, START, history.clock.now()) == 300
    assert "ignored" in journaled(history)


def test_two_currencies_are_never_summed(history: History) -> None:
    for total in (100, 200):
        history.tick(history.bill(total), history.bill(total, currency="EUR", **OTHER), totals=history.totals(0, 0))
    found = spent(history, 0, 60)
    assert isinstance(found, Unknown)
    assert "EUR and USD" in found.reason


@pytest.mark.parametrize(
    ("step_min", "told", "longer"), [(5, "bills every 5 min", "1h"), (60, "bills every 1 h", "24h")]
)
def test_a_window_shorter_than_the_steps_of_a_bill_is_no_number(
    history: History, step_min: int, told: str, longer: str
) -> None:
    for minute in range(step_min * 5 + 1):
        total = minute // step_min * 1_000
        history.tick(history.bill(total, started_at=START), totals=history.totals(0, minute))
    now, zone = history.clock.now() - timedelta(seconds=1), ZoneInfo("UTC")
    with history.database.read() as session:
        short, long = (figures(session, "h100", named_window(name, now, zone)) for name in ("5m", longer))
    assert short.spend == Unknown(told)
    assert isinstance(short.usage, Usage)  # tokens are counted to the minute
    assert isinstance(long.spend, Spend)


def test_a_bill_stated_twice_differently_is_believed_neither_time(history: History) -> None:
    history.tick(history.bill(100), totals=history.totals(0, 0))
    assert not history.tick(history.bill(200), history.bill(300), totals=history.totals(0, 0))
    with history.database.read() as session:
        assert len(session.exec(select(BillSample)).all()) == 1
        assert "stated twice" in session.exec(select(Gap)).one().problem


def test_a_tick_delivered_again_changes_nothing_and_an_older_one_is_refused(history: History) -> None:
    history.tick(history.bill(100), totals=history.totals(0, 0))
    history.clock.advance(-60)
    assert history.tick(history.bill(777), totals=history.totals(0, 0))
    history.clock.advance(-90)
    with pytest.raises(ClockBehind, match="set this machine's clock"):
        history.tick(history.bill(888), totals=history.totals(0, 0))
    with history.database.read() as session:
        assert [sample.total_nusd for sample in session.exec(select(BillSample))] == [100]


def test_a_tick_from_the_future_darkens_the_gate(history: History) -> None:
    """The clock was set back: no complete tick is younger than what this clock says."""
    for total in (100, 200):
        history.tick(history.bill(total), totals=history.totals(0, 0))
    policy = GatePolicy(10**12, ZoneInfo("UTC"), timedelta(seconds=170))
    with history.database.read() as session:
        assert verdict_now(session, policy, START - timedelta(hours=1)).reasons == (Reason.DARK,)


def test_a_derived_sample_must_lie_between_its_neighbours(history: History) -> None:
    for total in (100, 200):
        history.tick(history.bill(total), totals=history.totals(0, 0), after_s=3600)
    middle = START + timedelta(minutes=30)
    with history.database.write() as session:
        counter = session.exec(select(BillCounter)).one()
        for wrong in (99, 201):
            with pytest.raises(DerivedRefused):
                add_derived(session, counter, middle, wrong, "windowed bill")
        add_derived(session, counter, middle, 130, "windowed bill")
        with pytest.raises(DerivedRefused, match="a sample of that instant"):
            add_derived(session, counter, middle, 131, "windowed bill")
    with history.database.read() as session:
        assert debits_between(session, START, middle) == 30
        assert debits_between(session, middle, history.clock.now()) == 70


def test_a_counter_first_seen_today_is_placed_at_the_start_of_its_day(history: History) -> None:
    history.tick(history.bill(1_000), totals=history.totals(0, 0))
    midnight = datetime(2026, 11, 24, tzinfo=UTC)
    with history.database.write() as session:
        counter = session.exec(select(BillCounter)).one()
        (missing,) = missing_samples(session, "cloud", history.clock.now(), ZoneInfo("UTC"), timedelta(minutes=5))
        assert (missing.at, missing.ask, missing.sign) == (midnight, (midnight, START), -1)
        add_derived(session, counter, missing.at, missing.base_nusd - 400, "windowed bill")
    history.tick(history.bill(1_100), totals=history.totals(0, 0))
    with history.database.read() as session:
        assert debits_between(session, midnight, history.clock.now()) == 500  # the gate knows the whole day
    assert spent(history, 0, 60) == 100


@pytest.mark.parametrize(
    ("now", "today_h"),
    [
        (datetime(2026, 3, 29, 12, tzinfo=UTC), 13),  # clocks went forward: the day began at 23:00Z
        (datetime(2026, 10, 25, 22, tzinfo=UTC), 24),  # clocks went back: it has 25 hours
    ],
)
def test_today_and_month_follow_the_zones_clocks(now: datetime, today_h: int) -> None:
    zone = ZoneInfo("Europe/Berlin")
    today, month = named_window("today", now, zone), named_window("month", now, zone)
    assert today.end - today.start == timedelta(hours=today_h)
    assert month.start.astimezone(zone).strftime("%d %H:%M") == "01 00:00"


def test_a_wiped_ledger_is_a_new_counter(history: History) -> None:
    history.tick(history.bill(1), totals=history.totals(50, 500))
    history.tick(history.bill(2), totals=history.totals(60, 600))
    anew = replace(history.totals(3, 30), uuid="ledger-b", created_at=START + timedelta(seconds=90))
    history.tick(history.bill(3), totals=anew)
    with history.database.read() as session:
        found = figures(session, "h100", Window(START, history.clock.now())).usage
        assert isinstance(found, Usage)
        assert found.completion_tokens == 130
        assert session.exec(select(ProviderTick)).all()
