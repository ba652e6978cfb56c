"""The gate over histories: outages, days, resets, hands, bounds, and frozen bills."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlmodel import select

from store.budget_curve import verdict_changes
from store.gate import FLEET, GatePolicy, Reason, Verdict
from store.inventory import keep_resources
from store.journal_read import entries
from store.settle import settle
from store.stops import must_sleep
from store.tables import BillCounter, ResourceRow, Tick
from store.unknown import UNOBSERVED, Unknown
from store.verdict_then import verdict_at
from store.verdicts import (
    add_allowance,
    close_by_hand,
    closed_by_hand,
    open_by_hand,
    overspend,
    overspend_terms,
    record_verdict,
    verdict_now,
)
from store.words import ResourceKind, State
from tests.conftest import START, History

POLICY = GatePolicy(200 * 10**9, ZoneInfo("UTC"), timedelta(seconds=170))
USD = 10**9


def verdict(history: History, policy: GatePolicy = POLICY) -> Verdict:
    with history.database.write() as session:
        found = verdict_now(session, policy, history.clock.now())
        record_verdict(session, found)
        return found


def verdict_of(history: History, policy: GatePolicy = POLICY) -> tuple[Reason, ...]:
    return verdict(history, policy).reasons


def inventory(history: History, state: State, *, can_sleep: bool = True, id_: str = "8429") -> None:
    row = ResourceRow(
        provider="cloud",
        kind=ResourceKind.INSTANCE,
        resource_id=id_,
        tier=history.tier,
        name="h100-a",
        state=state,
        raw_state=state,
        can_sleep=can_sleep,
        seen_at=history.clock.now(),
    )
    with history.database.write() as session:
        keep_resources(session, "cloud", [row], history.clock.now(), complete=False)


def test_the_gate_lives_through_an_outage_of_billing(history: History) -> None:
    assert verdict_of(history) == (Reason.UNOBSERVED,)
    history.tick(history.bill(0), totals=history.totals(0, 0))
    assert verdict_of(history) == ()
    history.tick(problem="HTTP 500", totals=history.totals(0, 0))
    assert verdict_of(history) == ()  # an outage of a minute stops nobody
    history.tick(problem="HTTP 500", totals=history.totals(0, 0))
    assert verdict_of(history) == (Reason.DARK,)
    history.tick(history.bill(5), totals=history.totals(0, 0))
    assert verdict_of(history) == (Reason.DARK,)
    history.tick(history.bill(6), totals=history.totals(0, 0))
    assert verdict_of(history) == ()


def test_before_a_complete_tick_no_money_of_today_is_known_and_none_is_kept(history: History) -> None:
    policy = replace(POLICY, tier_limits_nusd={"h100": USD}, currency_limits_nusd={"EUR": USD})
    for _ in range(2):
        found = verdict(history, policy)
        assert found.reasons == (Reason.UNOBSERVED,)
        for scope in (found.fleet, found.tiers["h100"], found.currencies["EUR"]):
            assert (scope.facts.debits_nusd, scope.facts.bound_nusd) == (UNOBSERVED, UNOBSERVED)
        assert found.facts.debits_today_nusd == UNOBSERVED
        history.tick(history.bill(0), problem="HTTP 500")
    with history.database.read() as session:
        assert set(overspend(policy, found, overspend_terms(session, policy, START)).values()) == {UNOBSERVED}
        assert {one.debits_nusd for one in verdict_changes(session, policy, history.clock.now(), 9)} == {UNOBSERVED}
        tick, _ = session.exec(select(Tick)).all()
        assert verdict_at(session, policy, tick.at, tick).verdict.fleet.facts.bound_nusd == UNOBSERVED


def test_a_limit_that_is_reached_before_a_complete_tick_stops_its_tier_all_the_same(history: History) -> None:
    policy = replace(POLICY, tier_limits_nusd={"h100": USD})
    history.tick(history.bill(0), problem="HTTP 500")
    history.tick(history.bill(2 * USD), problem="HTTP 500")
    found = verdict(history, policy)
    assert found.tiers["h100"].reasons == (Reason.EXHAUSTED,)
    assert must_sleep(policy, found, ["h100"])["h100"].endswith(
        "h100: the limit of $1.00 has been reached; opens tomorrow, or by a reset"
    )


def test_a_collector_that_comes_back_from_the_dead_needs_two_ticks(history: History) -> None:
    history.tick(history.bill(0), totals=history.totals(0, 0))
    assert verdict_of(history) == ()
    history.clock.advance(600)
    assert verdict_of(history) == (Reason.DARK,)
    history.tick(history.bill(1), totals=history.totals(0, 0))
    assert verdict_of(history) == (Reason.DARK,)
    history.tick(history.bill(2), totals=history.totals(0, 0))
    assert verdict_of(history) == ()


def test_a_dark_time_that_nobody_recorded_is_seen_all_the_same(history: History) -> None:
    history.tick(history.bill(0), totals=history.totals(0, 0))
    assert verdict_of(history) == ()
    history.clock.advance(600)
    history.tick(history.bill(1), totals=history.totals(0, 0))
    assert verdict_of(history) == (Reason.DARK,)
    history.tick(history.bill(2), totals=history.totals(0, 0))
    assert verdict_of(history) == ()


def test_a_failover_within_dark_after_changes_nothing(history: History) -> None:
    history.tick(history.bill(0), totals=history.totals(0, 0))
    assert verdict_of(history) == ()
    history.clock.advance(60)  # a tick that the dead leader missed
    assert verdict_of(history) == ()
    history.tick(history.bill(2), totals=history.totals(0, 0))
    assert verdict_of(history) == ()


def test_an_exhausted_gate_opens_by_a_reset_and_by_the_first_tick_of_the_next_day(history: History) -> None:
    policy = GatePolicy(100, ZoneInfo("UTC"), timedelta(days=3))

    def spend(nusd: int) -> None:
        inventory(history, State.ASLEEP)  # at rest: nothing is in flight towards the bill
        history.tick(history.bill(nusd, rate_nusd_per_hour=0), totals=history.totals(0, 0))

    spend(0)
    spend(100)
    assert verdict_of(history, policy) == (Reason.EXHAUSTED,)
    with history.database.write() as session:
        add_allowance(session, policy, history.clock.now(), 500_000, "ada", "the launch")
    assert verdict_of(history, policy) == ()
    spend(500_100)
    assert verdict_of(history, policy) == (Reason.EXHAUSTED,)
    history.clock.advance(24 * 3600)
    assert verdict_of(history, policy) == (Reason.EXHAUSTED,)  # a clock alone buys no new day
    spend(500_100)
    assert Reason.EXHAUSTED not in verdict_of(history, policy)


def test_a_closing_by_hand_holds_until_it_is_opened_by_hand(history: History) -> None:
    history.tick(history.bill(0), totals=history.totals(0, 0))
    with history.database.write() as session:
        close_by_hand(session, history.clock.now(), "ada@192.0.2.7", "a leak")
    found = verdict(history)
    assert found.reasons == (Reason.MANUAL,)
    assert "ada@192.0.2.7 (a leak)" in found.sentence
    with history.database.write() as session:
        closure = closed_by_hand(session)
        assert closure is not None
        open_by_hand(session, closure, history.clock.now(), "bob", "mended")
    assert verdict_of(history) == ()
    with history.database.read() as session:
        assert [entry.what for entry in entries(session, 4)] == ["verdict", "gate open", "verdict", "gate close"]


def test_what_is_not_billed_yet_is_reserved_and_reopens_after_two_ticks_below(history: History) -> None:
    policy = replace(POLICY, limit_nusd=USD // 2)
    inventory(history, State.RUNNING)
    history.tick(history.bill(0), totals=history.totals(0, 0))
    first = verdict(history, policy)
    assert first.is_open  # $2.00/h for one tick behind, a tick, the drain and the sleep: 18 cents
    assert first.fleet.facts.headroom_nusd == 2 * USD * (60 + 60 + 120 + 300) // 3600
    inventory(history, State.RUNNING, can_sleep=False)
    held = verdict(history, policy)
    assert held.reasons == (Reason.RESERVED,)  # what cannot be hibernated bills until midnight
    assert "not billed yet" in held.sentence
    inventory(history, State.RUNNING)
    assert verdict_of(history, policy) == (Reason.RESERVED,)
    history.tick(history.bill(0), totals=history.totals(0, 0))
    assert verdict_of(history, policy) == ()


def test_a_rate_of_zero_does_not_loosen_it_below_what_the_counter_showed(history: History) -> None:
    inventory(history, State.RUNNING)
    for minute in range(20):
        history.tick(history.bill(minute * USD, rate_nusd_per_hour=0), totals=history.totals(0, 0))
    speed = verdict(history).facts.terms[0].speed_nusd_per_hour
    assert speed == 60 * USD


def test_a_sleeping_resource_is_held_to_its_slope_and_not_to_its_quoted_price(history: History) -> None:
    inventory(history, State.ASLEEP)
    for minute in range(30):
        history.tick(history.bill(minute * 1000), totals=history.totals(0, 0))
    term = verdict(history).facts.terms[0]
    assert term.speed_nusd_per_hour == 60_000
    assert term.course == "until midnight"


def test_a_resource_without_a_rate_or_a_movement_has_no_bound(history: History) -> None:
    history.tick(history.bill(5, rate_nusd_per_hour=None), totals=history.totals(0, 0))
    found = verdict(history)
    assert found.reasons == (Reason.RESERVED,)
    assert isinstance(found.fleet.facts.headroom_nusd, Unknown)
    assert "quotes no rate" in found.sentence


def test_a_balance_of_today_that_nobody_placed_is_reserved_at_most_at_its_speed(history: History) -> None:
    inventory(history, State.RUNNING)
    history.tick(history.bill(500 * USD), totals=history.totals(0, 0))
    room = verdict(history).fleet.facts.headroom_nusd
    since_midnight = START - START.replace(hour=0)
    assert room == 2 * USD * (60 + 60 + 120 + 300) // 3600 + 2 * USD * since_midnight // timedelta(hours=1)


def test_a_bill_that_stands_still_under_a_running_instance_closes(history: History) -> None:
    inventory(history, State.RUNNING)
    bill = 0
    for _ in range(4):
        bill += 33_333_333
        history.tick(history.bill(bill), totals=history.totals(0, 0))
    for _ in range(15):
        assert verdict_of(history) == ()
        history.tick(history.bill(bill), totals=history.totals(0, 0))
    found = verdict(history)
    assert found.reasons == (Reason.FROZEN,)
    assert found.facts.frozen == ("usage:vm:8429",)
    history.tick(history.bill(bill + 500_000_000), totals=history.totals(0, 0))
    assert verdict_of(history) == ()


def test_a_bill_in_coarse_steps_is_not_frozen_before_three_of_them(history: History) -> None:
    policy = replace(POLICY, dark_after=timedelta(hours=1))
    inventory(history, State.RUNNING)
    for minute in range(0, 71, 5):  # it moves every ten minutes, and stands still after the fourth time
        assert Reason.FROZEN not in verdict_of(history, policy)
        history.tick(history.bill(min(minute // 10, 4) * USD), totals=history.totals(0, 0), after_s=300)
    assert verdict_of(history, policy) == (Reason.FROZEN,)


def test_a_bill_in_whole_dollars_is_not_frozen_before_three_of_them_are_due(history: History) -> None:
    inventory(history, State.RUNNING)
    for _ in range(30):  # 50 cents an hour: it moves every other hour
        history.tick(history.bill(0, raw="0", rate_nusd_per_hour=USD // 2), totals=history.totals(0, 0))
    assert Reason.FROZEN not in verdict_of(history)


def test_an_instance_is_never_frozen_asleep_on_its_way_or_just_awake(history: History) -> None:
    states = [State.RUNNING] * 5 + [State.ASLEEP] * 18 + [State.WAKING] * 16 + [State.RUNNING]
    for minute, state in enumerate(states):
        inventory(history, state)
        history.tick(history.bill(min(minute, 5) * 33_333_333), totals=history.totals(0, 0))
        assert Reason.FROZEN not in verdict_of(history)


def test_an_unsettled_counter_closes_until_it_is_settled(history: History) -> None:
    inventory(history, State.ASLEEP)
    history.tick(history.bill(0), totals=history.totals(0, 0))
    with history.database.write() as session:
        counter = session.get_one(BillCounter, 1)
        counter.vanished_at = counter.unsettled_at = history.clock.now()
    assert verdict_of(history) == (Reason.UNSETTLED,)
    with history.database.write() as session:
        settle(session, history.clock.now(), 1, actor="ada", reason="gone")
    assert verdict_of(history) == ()


def test_a_tier_with_a_limit_of_its_own_closes_alone_and_is_reset_alone(history: History) -> None:
    policy = replace(POLICY, tier_limits_nusd={"h100": 10 * USD})
    inventory(history, State.RUNNING)
    history.tick(history.bill(0), totals=history.totals(0, 0))
    history.tick(history.bill(10 * USD, rate_nusd_per_hour=0), totals=history.totals(0, 0))
    found = verdict(history, policy)
    assert Reason.EXHAUSTED in found.reasons_for("h100")
    assert found.tiers["h100"].reasons == (Reason.EXHAUSTED,)
    with history.database.write() as session:
        add_allowance(session, policy, history.clock.now(), 500 * USD, "ada", "launch", "h100")
    after = verdict(history, policy)
    assert after.tiers["h100"].reasons == ()
    assert after.fleet.facts.allowances_nusd == 0
    with history.database.read() as session:
        subjects = {entry.subject for entry in entries(session, 5) if entry.what in ("verdict", "gate reset")}
    assert "h100" in subjects


def test_days_of_23_and_of_25_hours_end_when_the_zone_says(history: History) -> None:
    zone = ZoneInfo("Europe/Berlin")
    policy = GatePolicy(200 * USD, zone, timedelta(seconds=170))
    history.clock.jump((datetime(2027, 3, 28, 0, 0, tzinfo=UTC) - history.clock.now()).total_seconds())
    inventory(history, State.RUNNING, can_sleep=False)
    history.tick(history.bill(0), totals=history.totals(0, 0), after_s=0)
    term = verdict(history, policy).facts.terms[0]
    assert term.duration == timedelta(hours=22)  # 01:00 in Berlin, on a day of 23 hours
    history.clock.jump((datetime(2027, 10, 31, 0, 0, tzinfo=UTC) - history.clock.now()).total_seconds())
    history.tick(history.bill(0), totals=history.totals(0, 0), after_s=0)
    with history.database.read() as session:
        found = verdict_now(session, policy, history.clock.now())
    ahead = found.facts.terms[0].duration - (history.clock.now() - datetime(2027, 3, 28, tzinfo=UTC))
    assert ahead == timedelta(hours=23)  # 02:00 summer time, on a day of 25 hours
    assert FLEET in found.by_scope


def test_what_a_credited_bill_rises_by_is_reserved_at_once_and_puts_to_sleep(history: History) -> None:
    """It is known three steps later only that the fall was a credit; by then the limit would be long behind."""
    policy, born = (
        replace(POLICY, limit_nusd=62 * USD, dark_after=timedelta(hours=1)),
        START + timedelta(seconds=30),
    )
    seen: dict[int, tuple[tuple[Reason, ...], bool]] = {}
    history.tick()
    for minute in range(9 * 12):
        hours, part = divmod(minute, 12)
        bill = 10 * USD * hours - (50 * USD if (hours, part) >= (5, 6) else 0)
        history.tick(history.bill(bill, started_at=born, rate_nusd_per_hour=10 * USD), after_s=300)
        inventory(history, State.RUNNING)
        found = verdict(history, policy)
        seen.setdefault(hours, (found.reasons, bool(must_sleep(policy, found, ["h100"]))))
    assert seen[5] == ((), False)
    assert seen[6] == ((Reason.RESERVED,), False)
    assert seen[7] == ((Reason.RESERVED,), True)  # $70 are billed, of which the counter's debits know 50
    assert found.reasons == (Reason.EXHAUSTED,)


def test_a_fall_that_recovers_closes_nothing_for_good(history: History) -> None:
    policy = replace(POLICY, limit_nusd=12 * USD)
    for total in (0, 10, 7, 9, 10, 10):
        history.tick(history.bill(total * USD, rate_nusd_per_hour=USD // 10))
        found = verdict(history, policy)
        inventory(history, State.RUNNING)
    assert found.is_open
    assert found.facts.debits_today_nusd == 10 * USD
    assert found.fleet.facts.undecided_nusd == 0


def test_a_fall_takes_no_slope_from_a_bill_that_quotes_no_rate(history: History) -> None:
    for minute in range(40):
        credit = 0 if minute < 37 else 100 * USD
        history.tick(history.bill((200 + minute) * USD - credit, rate_nusd_per_hour=None))
        inventory(history, State.RUNNING)
    (term,) = verdict(history).facts.terms
    assert term.undecided_nusd == 2 * USD
    assert isinstance(term.speed_nusd_per_hour, int)
    assert term.speed_nusd_per_hour >= 55 * USD
