"""A day that no complete tick has seen yet: its spend is not known, and the gate decides as if it were none."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import col, select

from store.budget_curve import budget_curve, verdict_changes
from store.gate import FLEET, GateFacts, GatePolicy, Reason, ScopeFacts, Verdict, decide
from store.inventory import keep_resources
from store.sights import with_day_unseen
from store.stops import must_sleep, why_no_wake
from store.tables import BillSample, Tick, VerdictRow
from store.unknown import Unknown
from store.verdict_then import verdict_at
from store.verdicts import close_by_hand, overspend, overspend_terms, record_verdict, verdict_now
from store.words import State
from tests.conftest import History, an_instance

USD = 10**9
MIDNIGHT = datetime(2026, 11, 25, tzinfo=UTC)
POLICY = GatePolicy(200 * USD, ZoneInfo("UTC"), timedelta(seconds=170), tier_limits_nusd={"h100": 100 * USD})
UNSEEN = Unknown("no complete tick since 2026-11-24T23:59:30Z")


def evening(history: History, *, limit_spent: int = 0, start: datetime = MIDNIGHT) -> None:
    """Two ticks before midnight, the last one half a minute, and verdicts; then it is twenty seconds past."""
    history.clock.advance((start - history.clock.now()).total_seconds() - 90)
    for nusd in (0, limit_spent + USD):
        with history.database.write() as session:
            row = an_instance(State.RUNNING, history.clock.now())
            keep_resources(session, "cloud", [row], history.clock.now(), complete=False)
        history.tick(history.bill(nusd), after_s=0)
        decided(history)
        history.clock.advance(60)
    history.clock.advance(-10)


def decided(history: History, policy: GatePolicy = POLICY) -> Verdict:
    with history.database.write() as session:
        found = verdict_now(session, policy, history.clock.now())
        record_verdict(session, found)
        return found


def test_in_the_first_minute_spend_is_not_known_and_the_gate_goes_on(history: History) -> None:
    evening(history)
    assert history.clock.now() == MIDNIGHT + timedelta(seconds=20)
    found = decided(history)
    assert found.is_open
    assert found.facts.debits_today_nusd == UNSEEN
    for scope in (found.fleet, found.tiers["h100"]):
        assert (scope.facts.debits_nusd, scope.facts.counted_nusd) == (UNSEEN, 0)
        assert scope.facts.bound_nusd == scope.facts.headroom_nusd
        assert isinstance(scope.facts.bound_nusd, int)
    with history.database.read() as session:
        assert why_no_wake(session, POLICY, found, "h100") is None
        assert isinstance(overspend(POLICY, found, overspend_terms(session, POLICY, found.facts.now))["USD"], int)
    history.clock.advance(10)
    history.tick(history.bill(3 * USD))
    assert decided(history).facts.debits_today_nusd == 2 * USD


def test_a_day_begins_where_the_budget_is(history: History) -> None:
    policy = replace(POLICY, zone=ZoneInfo("Europe/Berlin"))
    evening(history, start=MIDNIGHT - timedelta(hours=1))
    assert decided(history, policy).facts.debits_today_nusd == Unknown(
        "no complete tick since 2026-11-24T22:59:30Z"
    )
    assert decided(history).facts.debits_today_nusd == USD


def test_a_limit_that_was_reached_yesterday_says_so_and_no_amount_of_today(history: History) -> None:
    evening(history, limit_spent=200 * USD)
    found = decided(history)
    assert found.reasons == (Reason.EXHAUSTED,)
    assert found.sentence == (
        "the limit was reached before today, which has had no complete tick; opens at the first"
    )
    assert set(must_sleep(POLICY, found, ["h100"])) == {"h100"}


def test_a_reserved_gate_says_what_may_be_billed_and_no_amount_of_today(history: History) -> None:
    evening(history)
    found = decided(history, replace(POLICY, limit_nusd=USD // 4))
    assert found.reasons == (Reason.RESERVED,)
    assert f"— ({UNSEEN.reason}) spent and up to $" in found.sentence
    assert "$0.00" not in found.sentence


def test_a_verdict_of_then_is_kept_as_before_and_told_as_not_known(history: History) -> None:
    evening(history)
    with history.database.write() as session:
        close_by_hand(session, history.clock.now(), "ada", "a leak")
    decided(history)
    with history.database.read() as session:
        newest = session.exec(select(VerdictRow).order_by(col(VerdictRow.id).desc())).first()
        assert newest is not None
        assert (newest.debits_today_nusd, newest.reasons) == (0, '["manual"]')
        told = verdict_changes(session, POLICY, history.clock.now(), 9)
    assert [one.debits_nusd for one in told] == [UNSEEN, 0]  # the first one was at the evening's first tick


def test_a_past_minute_of_an_unseen_day_tells_the_same(history: History) -> None:
    evening(history)
    now = history.clock.now()
    with history.database.read() as session:
        tick = session.exec(select(Tick).order_by(col(Tick.at).desc())).first()
        assert tick is not None
        past = verdict_at(session, POLICY, now, tick).verdict
        assert past.facts.debits_today_nusd == past.tiers["h100"].facts.debits_nusd == UNSEEN
        points = budget_curve(session, POLICY, now, 96).points
        assert [point.debits_nusd for point in points] == [0, UNSEEN]  # nothing is spent in no time


def hours_asleep(history: History) -> datetime:
    """A night without a collector, until three in the morning."""
    evening(history)
    history.clock.advance(3 * 3600)
    history.tick(history.bill(5 * USD))
    return history.clock.now()


def test_the_curve_begins_at_the_days_first_complete_tick(history: History) -> None:
    now = hours_asleep(history)
    with history.database.read() as session:
        points = budget_curve(session, POLICY, now, 24).points
    assert [point.debits_nusd for point in points] == [0, UNSEEN, UNSEEN, UNSEEN, 4 * USD]


def test_what_a_provider_told_of_the_night_is_known_from_then_on(history: History) -> None:
    now = hours_asleep(history)
    with history.database.write() as session:
        last = session.exec(select(BillSample).order_by(col(BillSample.at).desc())).first()
        assert last is not None
        at = MIDNIGHT + timedelta(hours=1, minutes=30)
        told = {"at": at, "total_nusd": 3 * USD, "debits_nusd": last.debits_nusd - 2 * USD, "origin": "derived"}
        session.add(BillSample(**{**last.model_dump(), **told}))
    with history.database.read() as session:
        points = budget_curve(session, POLICY, now, 24).points
    assert [point.debits_nusd for point in points] == [0, UNSEEN, 2 * USD, 2 * USD, 4 * USD]


money = st.integers(0, 400 * USD) | st.just(Unknown("x"))
scopes = st.builds(
    ScopeFacts, money, money, st.integers(0, 9) | st.integers(0, 400 * USD), st.integers(0, 3), st.integers(0, USD)
)


@given(scopes, scopes, scopes, st.lists(st.sampled_from(Reason), max_size=3), st.integers(-40, 400))
def test_the_decision_is_the_one_that_what_is_assumed_would_make(
    fleet: ScopeFacts, tier: ScopeFacts, euros: ScopeFacts, before: list[Reason], age_s: int
) -> None:
    policy = replace(POLICY, currency_limits_nusd={"EUR": 50 * USD})
    now = MIDNIGHT + timedelta(seconds=20)
    last = now - timedelta(seconds=age_s)
    plain = GateFacts(now, last, last, 3, fleet, {"h100": tier}, currencies={"EUR": euros})
    was = dict.fromkeys((FLEET, "h100", "EUR"), before)
    known, unseen = decide(policy, plain, was), decide(policy, with_day_unseen(policy, plain), was)
    assert unseen.by_scope == known.by_scope
    assert unseen.is_open == known.is_open
    for one, other in ((known.fleet, unseen.fleet), (known.tiers["h100"], unseen.tiers["h100"])):
        assert one.is_spent == other.is_spent
        assert one.is_below == other.is_below
        assert one.facts.bound_nusd == other.facts.bound_nusd
    assert last > MIDNIGHT or isinstance(unseen.fleet.facts.debits_nusd, Unknown)
    assert unseen.sentence
