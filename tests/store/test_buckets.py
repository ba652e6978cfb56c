"""Buckets: an hour's or a day's bill is a counter of its own, and belongs to its period however late it comes."""

from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

from sqlmodel import select

from store.budget_curve import debits_since
from store.check import check
from store.figures import Spend
from store.figures_read import figures, figures_of
from store.gate import GatePolicy
from store.inventory import keep_resources
from store.money import format_nusd
from store.readings import Bill
from store.steps import stated, step_of
from store.tables import BillCounter, BillSample, ResourceRow
from store.unknown import Unknown
from store.verdicts import verdict_now
from store.window import Window
from store.words import ResourceKind, State
from tests.conftest import START, History

HOUR = timedelta(hours=1)
USD = 10**9
POLICY = GatePolicy(1000 * USD, ZoneInfo("UTC"), timedelta(seconds=170))


def bucket(history: History, hour: int, nusd: int, **changes: object) -> Bill:
    """The bucket of an hour after the history's first tick."""
    start = START + hour * HOUR
    fields: dict[str, object] = {
        "counter": f"bucket:{start:%dT%H}",
        "started_at": start,
        "ends_at": start + HOUR,
        "rate_nusd_per_hour": None,
        "step": timedelta(minutes=5),
        **changes,
    }
    return history.bill(nusd, **fields)


def spend(history: History, start_hour: float, end_hour: float) -> Spend | Unknown:
    with history.database.read() as session:
        return figures(session, "h100", Window(START + start_hour * HOUR, START + end_hour * HOUR)).spend


def runs(history: History) -> None:
    """The inventory says that the instance runs."""
    row = ResourceRow(
        provider="cloud",
        kind=ResourceKind.INSTANCE,
        resource_id="8429",
        tier="h100",
        name="h100-a",
        state=State.RUNNING,
        raw_state="RUNNING",
        can_sleep=True,
        seen_at=history.clock.now(),
    )
    with history.database.write() as session:
        keep_resources(session, "cloud", [row], history.clock.now(), complete=False)


def hours(history: History, count: int, rate_nusd: int = 2 * USD, **changes: object) -> None:
    """Hours of an hourly bill that moves every five minutes."""
    for index in range(count * 12):
        minutes = 5 * index
        hour, part = divmod(minutes, 60)
        told = [bucket(history, over, rate_nusd, **changes) for over in range(hour)]
        told.append(bucket(history, hour, rate_nusd * part // 60, **changes))
        history.tick(*told, totals=history.totals(index, index), after_s=300)


def test_what_is_billed_before_a_bucket_is_first_listed_is_ours(history: History) -> None:
    history.tick(totals=history.totals(0, 0), after_s=600)
    history.tick(bucket(history, 0, 7), totals=history.totals(0, 0), after_s=600)
    with history.database.read() as session:
        (counter,) = session.exec(select(BillCounter)).all()
        assert counter.opening_nusd == 0
        assert step_of(counter.steps) == timedelta(minutes=5)
    assert step_of(stated(timedelta(days=1))) == timedelta(days=1)


def test_a_bucket_that_began_before_our_first_look_has_an_opening_balance(history: History) -> None:
    history.tick(bucket(history, -1, 5 * USD), totals=history.totals(0, 0))
    history.tick(bucket(history, -1, 6 * USD), totals=history.totals(0, 0))
    with history.database.read() as session:
        (counter,) = session.exec(select(BillCounter)).all()
    assert counter.opening_nusd == 5 * USD


def test_a_bucket_that_is_stated_when_it_is_over_is_placed_in_its_period(history: History) -> None:
    history.resources = frozenset()
    for minute in range(0, 180, 30):
        told = [bucket(history, hour, 3 * USD, step=HOUR) for hour in range(2) if minute >= 60 * hour + 90]
        history.tick(*told, totals=history.totals(minute, minute), after_s=1800)
    with history.database.read() as session:
        samples = session.exec(select(BillSample).where(BillSample.origin == "derived")).all()
    assert [(one.at, one.total_nusd) for one in samples] == [(START + HOUR, 3 * USD), (START + 2 * HOUR, 3 * USD)]
    assert spend(history, 0, 1) == Unknown("bills every 1 h")
    whole = spend(history, 0, 3)
    assert isinstance(whole, Spend)
    assert whole.nusd == 6 * USD


def test_a_bucket_that_is_stated_late_is_unknown_to_a_replay_of_the_minutes_before(history: History) -> None:
    history.resources = frozenset()
    for minute in range(0, 90, 5):
        told = [bucket(history, 0, 3 * USD)] if minute >= 70 else []
        history.tick(*told, totals=history.totals(minute, minute), after_s=300)
    hour, before, after = Window(START, START + HOUR), START + 1.1 * HOUR, START + 1.2 * HOUR
    with history.database.read() as session:
        replayed = [figures_of(session, ["h100"], [hour], then)["h100"][0].spend for then in (before, after)]
        debits = [debits_since(session, START, [then])[0] for then in (before, after)]
    assert replayed[0] == Unknown("no bill counter of this tier has been read yet")
    assert isinstance(replayed[1], Spend)
    assert replayed[1].nusd == 3 * USD
    assert debits == [0, 3 * USD]


def test_windows_over_buckets_add_up(history: History) -> None:
    hours(history, 3)
    parts = [spend(history, start, start + 0.5) for start in (0.5, 1, 1.5, 2)]
    whole = spend(history, 0.5, 2.5)
    assert isinstance(whole, Spend)
    assert sum(one.nusd for one in parts if isinstance(one, Spend)) == whole.nusd == 4 * USD


def test_the_buckets_of_one_machine_are_one_meter_whose_slope_goes_over_the_hour(history: History) -> None:
    runs(history)
    hours(history, 3)
    told = [bucket(history, hour, 2 * USD) for hour in range(3)]
    history.tick(*told, bucket(history, 3, 0), totals=history.totals(99, 99), after_s=1)
    with history.database.read() as session:
        facts = verdict_now(session, POLICY, history.clock.now()).facts
    (term,) = facts.terms
    assert term.speed_nusd_per_hour == 2 * USD
    assert facts.debits_today_nusd == 6 * USD


def test_without_a_rate_a_new_bucket_leaves_no_hole_in_the_bound(history: History) -> None:
    """A volume that is billed by the hour quotes nothing: its bound is what the hours before have shown."""
    hours(history, 2, rate_nusd=60_000_000)
    told = [bucket(history, hour, 60_000_000) for hour in range(2)]
    history.tick(*told, bucket(history, 2, 0), totals=history.totals(99, 99), after_s=1)
    with history.database.read() as session:
        bound = verdict_now(session, POLICY, history.clock.now()).facts.fleet.bound_nusd
    assert isinstance(bound, int)
    assert bound > 120_000_000


def test_a_correction_of_a_bucket_that_is_over_is_no_step_and_moves_no_clock(history: History) -> None:
    history.resources = frozenset()
    history.tick(totals=history.totals(0, 0), after_s=7200)
    late = bucket(history, 0, 5 * USD, step=HOUR)
    history.tick(late, totals=history.totals(0, 0), after_s=3600)
    corrected = replace(late, total_nusd=4 * USD, raw=format_nusd(4 * USD))
    history.tick(corrected, totals=history.totals(0, 0))
    with history.database.read() as session:
        (counter,) = session.exec(select(BillCounter)).all()
    assert counter.moved_at == START + HOUR
    assert step_of(counter.steps) == HOUR
    found = spend(history, 0, 3)
    assert isinstance(found, Spend)
    assert found.nusd == 4 * USD


def test_hours_that_ended_while_nobody_looked_are_money_of_their_day(history: History) -> None:
    """Hours at $6, and an outage from 20:30 to 02:30: what was billed by midnight is yesterday's."""
    began, midnight = START + 12 * HOUR, START + 16 * HOUR

    def tick() -> None:
        now = history.clock.now()
        starts = [began + hour * HOUR for hour in range(8) if began + hour * HOUR <= now]
        passed = {start: min(now - start, HOUR) // timedelta(minutes=1) for start in starts}
        told = [bucket(history, (start - START) // HOUR, minutes * USD // 10) for start, minutes in passed.items()]
        history.tick(*told, totals=history.totals(0, 0), after_s=300)

    history.clock.advance(12 * 3600)
    for _ in range(7):
        tick()
    history.clock.advance(6 * 3600 - 300)
    for _ in range(2):
        tick()
    now = history.clock.now() - timedelta(minutes=5)
    with history.database.read() as session:
        yesterday, _ = debits_since(session, began, [midnight, now])
        facts = verdict_now(session, POLICY, now).facts
        whole = figures(session, "h100", Window(began, now)).spend
        before = figures(session, "h100", Window(began, began + HOUR / 2)).spend
    assert (yesterday, facts.debits_today_nusd) == (24 * USD, 15.5 * USD)
    assert isinstance(whole, Spend)
    assert isinstance(before, Spend)
    assert (whole.nusd, before.nusd) == (39.5 * USD, 3 * USD)
    assert check(history.database) == []
