"""The gate is open only when enough is known and enough is left."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.gate import GateFacts, GatePolicy, Reason, decide, why_no_reset
from store.lease import grant
from store.unknown import Unknown
from store.verdicts import add_allowance, record_verdict, verdict_now
from tests.conftest import History

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
POLICY = GatePolicy(200 * 10**9, ZoneInfo("UTC"), timedelta(seconds=170))


def facts(**changes: object) -> GateFacts:
    fields: dict[str, object] = {
        "now": NOW,
        "last_complete_at": NOW - timedelta(seconds=30),
        "previous_complete_at": NOW - timedelta(seconds=90),
        "complete_in_row": 3,
        "debits_today_nusd": 10**9,
        "allowances_nusd": 0,
    }
    return GateFacts(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "before", "reasons"),
    [
        ({}, (), ()),
        ({"last_complete_at": None}, (), (Reason.UNOBSERVED,)),
        ({"complete_in_row": 1}, (Reason.UNOBSERVED,), ()),
        ({"last_complete_at": NOW - timedelta(seconds=171)}, (), (Reason.DARK,)),
        ({"last_complete_at": NOW - timedelta(seconds=170)}, (), ()),
        ({"complete_in_row": 1}, (Reason.DARK,), (Reason.DARK,)),
        ({"complete_in_row": 2}, (Reason.DARK,), ()),
        ({"complete_in_row": 1, "previous_complete_at": NOW - timedelta(hours=1)}, (), (Reason.DARK,)),
        ({"complete_in_row": 1, "previous_complete_at": None}, (Reason.UNOBSERVED,), ()),
        ({"debits_today_nusd": 200 * 10**9}, (), (Reason.EXHAUSTED,)),
        ({"debits_today_nusd": 200 * 10**9 - 1}, (), ()),
        ({"debits_today_nusd": 200 * 10**9, "allowances_nusd": 1}, (Reason.EXHAUSTED,), ()),
        ({"debits_today_nusd": Unknown("two currencies")}, (), (Reason.UNSETTLED,)),
        (
            {"last_complete_at": NOW - timedelta(hours=1), "debits_today_nusd": 300 * 10**9},
            (),
            (Reason.DARK, Reason.EXHAUSTED),
        ),
    ],
)
def test_each_reason_closes_and_opens(
    changes: dict[str, object], before: tuple[Reason, ...], reasons: tuple[Reason, ...]
) -> None:
    verdict = decide(POLICY, facts(**changes), before)
    assert verdict.reasons == reasons
    assert verdict.is_open is (not reasons)
    assert verdict.sentence


@given(
    st.one_of(st.none(), st.integers(0, 1000)),
    st.integers(0, 3),
    st.one_of(st.integers(0, 400 * 10**9), st.just(Unknown("not read"))),
    st.lists(st.sampled_from(Reason), max_size=3),
)
def test_it_is_open_only_when_seen_lately_and_under_the_limit(
    age_s: int | None, in_row: int, debits: int | Unknown, before: list[Reason]
) -> None:
    last = None if age_s is None else NOW - timedelta(seconds=age_s)
    verdict = decide(POLICY, facts(last_complete_at=last, complete_in_row=in_row, debits_today_nusd=debits), before)
    if verdict.is_open:
        assert age_s is not None
        assert age_s <= 170
        assert isinstance(debits, int)
        assert debits < 200 * 10**9


def test_a_blind_gate_is_never_reset() -> None:
    dark = decide(POLICY, facts(last_complete_at=NOW - timedelta(hours=1), debits_today_nusd=10**12), ())
    assert "dark" in (why_no_reset(dark) or "")
    spent = decide(POLICY, facts(debits_today_nusd=10**12), ())
    assert why_no_reset(spent) is None
    assert why_no_reset(decide(POLICY, facts(), ())) == "the gate is open"


def test_a_lease_ends_when_the_last_complete_tick_is_dark() -> None:
    lease = grant(POLICY, decide(POLICY, facts(), ()), "n", (1, 2), is_draining=False)
    assert lease.is_open
    assert lease.ttl_s == 140.0
    assert lease.body()["seq"] == [1, 2]


def test_a_draining_tier_gets_a_closed_lease() -> None:
    lease = grant(POLICY, decide(POLICY, facts(), ()), "n", (1, 2), is_draining=True)
    assert lease.body()["verdict"] == "closed"
    assert lease.reasons == ("draining",)


def verdict_of(history: History, policy: GatePolicy = POLICY) -> tuple[Reason, ...]:
    with history.database.write() as session:
        verdict = verdict_now(session, policy, history.clock.now())
        record_verdict(session, verdict)
        return verdict.reasons


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


def test_an_exhausted_gate_opens_by_a_reset_and_the_next_day(history: History) -> None:
    policy = GatePolicy(100, ZoneInfo("UTC"), timedelta(days=3))
    history.tick(history.bill(0), totals=history.totals(0, 0))
    history.tick(history.bill(100), totals=history.totals(0, 0))
    assert verdict_of(history, policy) == (Reason.EXHAUSTED,)
    with history.database.write() as session:
        add_allowance(session, policy, history.clock.now(), 50, "ada", "the launch")
    assert verdict_of(history, policy) == ()
    history.tick(history.bill(150), totals=history.totals(0, 0))
    assert verdict_of(history, policy) == (Reason.EXHAUSTED,)
    history.clock.advance(24 * 3600)
    history.tick(history.bill(151), totals=history.totals(0, 0))
    assert verdict_of(history, policy) == ()
