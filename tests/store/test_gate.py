"""The gate is open only when enough is known and enough is left."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.gate import (
    BLIND,
    FLEET,
    GateFacts,
    GatePolicy,
    Reason,
    ScopeFacts,
    decide,
)
from store.lease import grant
from store.resets import why_no_reset
from store.unknown import Unknown

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
POLICY = GatePolicy(200 * 10**9, ZoneInfo("UTC"), timedelta(seconds=170))
USD = 10**9


def facts(money: Mapping[str, object] | None = None, **changes: object) -> GateFacts:
    fields: dict[str, object] = {
        "now": NOW,
        "last_complete_at": NOW - timedelta(seconds=30),
        "previous_complete_at": NOW - timedelta(seconds=90),
        "complete_in_row": 3,
        "fleet": ScopeFacts(**{"debits_nusd": USD, **(money or {})}),  # type: ignore[arg-type]
    }
    return GateFacts(**{**fields, **changes})  # type: ignore[arg-type]


def was(*reasons: Reason) -> dict[str, Sequence[Reason]]:
    return {FLEET: reasons}


YESTERDAY = NOW - timedelta(hours=13)


@pytest.mark.parametrize(
    ("known", "before", "reasons"),
    [
        (facts(), (), ()),
        (facts(last_complete_at=None), (), (Reason.UNOBSERVED,)),
        (facts(last_complete_at=None, fleet=ScopeFacts(Unknown("x"))), (), (Reason.UNOBSERVED,)),
        (facts(complete_in_row=1), (Reason.UNOBSERVED,), ()),
        (facts(last_complete_at=NOW - timedelta(seconds=171)), (), (Reason.DARK,)),
        (facts(last_complete_at=NOW - timedelta(seconds=170)), (), ()),
        (facts(last_complete_at=NOW + timedelta(seconds=31)), (), (Reason.DARK,)),
        (facts(complete_in_row=1), (Reason.DARK,), (Reason.DARK,)),
        (facts(complete_in_row=2), (Reason.DARK,), ()),
        (facts(complete_in_row=1, previous_complete_at=NOW - timedelta(hours=1)), (), (Reason.DARK,)),
        (facts(complete_in_row=1, previous_complete_at=None), (Reason.UNOBSERVED,), ()),
        (facts(frozen=("usage:vm:1",)), (), (Reason.FROZEN,)),
        (facts(), (Reason.FROZEN,), ()),
        (facts({"debits_nusd": Unknown("two currencies")}), (), (Reason.UNSETTLED,)),
        (facts(), (Reason.UNSETTLED,), ()),
        (facts({"debits_nusd": 190 * USD, "headroom_nusd": 10 * USD}), (), (Reason.RESERVED,)),
        (facts({"debits_nusd": 190 * USD, "headroom_nusd": 10 * USD - 1}), (), ()),
        (facts({"headroom_nusd": Unknown("quotes no rate")}), (), (Reason.RESERVED,)),
        (facts({"ticks_below": 1}), (Reason.RESERVED,), (Reason.RESERVED,)),
        (facts({"ticks_below": 2}), (Reason.RESERVED,), ()),
        (facts({"debits_nusd": 200 * USD}), (), (Reason.EXHAUSTED,)),
        (facts({"debits_nusd": 200 * USD - 1}), (), ()),
        (facts({"debits_nusd": 200 * USD, "allowances_nusd": 1}), (Reason.EXHAUSTED,), ()),
        (facts(last_complete_at=YESTERDAY), (Reason.EXHAUSTED,), (Reason.DARK, Reason.EXHAUSTED)),
        (facts(closed_by="ada (a leak)"), (), (Reason.MANUAL,)),
        (facts(), (Reason.MANUAL,), ()),
        (
            facts({"debits_nusd": 300 * USD}, last_complete_at=NOW - timedelta(hours=1), closed_by="ada (x)"),
            (),
            (Reason.DARK, Reason.EXHAUSTED, Reason.MANUAL),
        ),
    ],
)
def test_each_reason_closes_and_opens(
    known: GateFacts, before: tuple[Reason, ...], reasons: tuple[Reason, ...]
) -> None:
    verdict = decide(POLICY, known, was(*before))
    assert verdict.reasons == reasons
    assert verdict.is_open is (not reasons)
    assert verdict.sentence


def test_a_new_day_begins_with_a_tick_and_not_with_a_clock() -> None:
    midnight = NOW.replace(hour=0)
    early = facts(now=midnight + timedelta(seconds=20), last_complete_at=midnight - timedelta(seconds=30))
    assert decide(POLICY, early, was(Reason.EXHAUSTED)).reasons == (Reason.EXHAUSTED,)
    seen = replace(early, last_complete_at=midnight + timedelta(seconds=10))
    assert decide(POLICY, seen, was(Reason.EXHAUSTED)).is_open


def test_an_estimate_never_latches() -> None:
    reserved = decide(POLICY, facts({"debits_nusd": 100 * USD, "headroom_nusd": 900 * USD}), was())
    assert reserved.reasons == (Reason.RESERVED,)
    assert decide(POLICY, facts({"debits_nusd": 101 * USD, "ticks_below": 2}), was(Reason.RESERVED)).is_open


def test_the_limit_of_a_tier_closes_that_tier_alone() -> None:
    policy = replace(POLICY, tier_limits_nusd={"h100": 10 * USD, "l40": 10 * USD})
    known = facts(tiers={"h100": ScopeFacts(10 * USD), "l40": ScopeFacts(9 * USD, 2 * USD)})
    verdict = decide(policy, known, was())
    assert verdict.is_open
    assert verdict.reasons_for("h100") == (Reason.EXHAUSTED,)
    assert verdict.reasons_for("l40") == (Reason.RESERVED,)
    assert verdict.reasons_for("a100") == ()
    assert "h100: $10.00 of $10.00" in verdict.sentence_for("h100")
    assert grant(policy, verdict, "n", (1, 1), "h100", is_draining=False).reasons == ("exhausted",)
    assert grant(policy, verdict, "n", (1, 2), "a100", is_draining=False).is_open


amounts = st.integers(0, 400 * USD)
unsure = st.one_of(amounts, st.just(Unknown("not read")))


@given(
    age_s=st.one_of(st.none(), st.integers(-100, 1000)),
    in_row=st.integers(0, 3),
    debits=unsure,
    room=unsure,
    allowance=amounts,
    below=st.integers(0, 3),
    frozen=st.booleans(),
    closed=st.booleans(),
    before=st.lists(st.sampled_from(Reason), max_size=4),
)
def test_it_is_open_only_when_seen_lately_and_surely_under_the_limit(
    age_s: int | None,
    in_row: int,
    debits: int | Unknown,
    room: int | Unknown,
    allowance: int,
    below: int,
    frozen: bool,
    closed: bool,
    before: list[Reason],
) -> None:
    last = None if age_s is None else NOW - timedelta(seconds=age_s)
    known = facts(
        fleet=ScopeFacts(debits, room, allowance, below),
        last_complete_at=last,
        complete_in_row=in_row,
        frozen=("c",) if frozen else (),
        closed_by="ada (why)" if closed else None,
    )
    verdict = decide(POLICY, known, was(*before))
    may_open = (
        age_s is not None
        and -30 <= age_s <= 170
        and isinstance(debits, int)
        and isinstance(room, int)
        and debits + room < POLICY.limit_nusd + allowance
        and not frozen
        and not closed
    )
    assert may_open or not verdict.is_open
    if may_open and not before and in_row != 1:
        assert verdict.is_open or verdict.reasons == (Reason.DARK,)
    if why_no_reset(verdict) is None:
        assert not set(verdict.reasons) & BLIND


def test_a_blind_gate_is_never_reset() -> None:
    spent = {"debits_nusd": 10**12}
    dark = decide(POLICY, facts(spent, last_complete_at=NOW - timedelta(hours=1)), was())
    assert "dark" in (why_no_reset(dark) or "")
    frozen = decide(POLICY, facts(spent, frozen=("usage:vm:1",)), was())
    assert "usage:vm:1 stands still" in (why_no_reset(frozen) or "")
    assert why_no_reset(decide(POLICY, facts(spent), was())) is None
    assert why_no_reset(decide(POLICY, facts(), was())) == "the gate is open"
    assert "gate open" in (why_no_reset(decide(POLICY, facts(closed_by="ada (x)"), was())) or "")


def test_a_lease_ends_when_the_last_complete_tick_is_dark() -> None:
    lease = grant(POLICY, decide(POLICY, facts(), was()), "n", (1, 2), "h100", is_draining=False)
    assert lease.is_open
    assert lease.ttl_s == 140.0
    assert lease.body()["seq"] == [1, 2]


def test_a_draining_tier_gets_a_closed_lease() -> None:
    lease = grant(POLICY, decide(POLICY, facts(), was()), "n", (1, 2), "h100", is_draining=True)
    assert lease.body()["verdict"] == "closed"
    assert lease.reasons == ("draining",)


def test_a_clock_that_has_been_set_back_is_said_to_be_behind() -> None:
    verdict = decide(POLICY, facts(last_complete_at=NOW + timedelta(seconds=600)), {})
    assert not verdict.is_open
    assert verdict.sentence == (
        "this machine's clock is 600 s behind the last complete tick: check the clock;"
        " opens after two complete ticks later than that one"
    )
    behind = Unknown("the clock is behind the last tick")
    assert verdict.facts.unseen == verdict.facts.debits_today_nusd == behind


def test_a_tick_a_moment_from_now_is_no_age_below_zero() -> None:
    verdict = decide(
        POLICY, facts(last_complete_at=NOW + timedelta(seconds=9), complete_in_row=1), was(Reason.DARK)
    )
    assert verdict.sentence == "last complete billing tick 0 s ago; opens after two complete ticks"
    assert verdict.facts.unseen is None
    assert verdict.facts.debits_today_nusd == USD


@pytest.mark.parametrize(
    ("frozen", "sentence"),
    [
        (("a",), "a stands still while its instance runs; opens when it moves or sleeps"),
        (("a", "b"), "a, b stand still while their instances run; opens when they move or sleep"),
    ],
)
def test_one_bill_stands_still_and_several_do(frozen: tuple[str, ...], sentence: str) -> None:
    assert decide(POLICY, facts(frozen=frozen), {}).sentence == sentence
