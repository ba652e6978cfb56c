"""A reset is about one limit of one day: where it is spent, and while it is the one that was seen."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from store.gate import FLEET, GateFacts, GatePolicy, ScopeFacts, Verdict, decide
from store.money import MAX_NUSD
from store.resets import DayLimit, day_limit, scope_to_reset, why_no_reset

NOW = datetime(2026, 11, 24, 23, 30, tzinfo=UTC)
UNIT = 10**9
POLICY = GatePolicy(
    200 * UNIT,
    ZoneInfo("Europe/Berlin"),
    timedelta(seconds=170),
    tier_limits_nusd={"h100": 50 * UNIT},
    currency_limits_nusd={"EUR": 100 * UNIT},
)
SEEN = DayLimit("2026-11-24", 200 * UNIT, "USD")


def verdict_of(spent: Mapping[str, int], closed_by: str | None = None) -> Verdict:
    """By scope, what has been spent today."""
    money = {scope: ScopeFacts(spent.get(scope, 0) * UNIT) for scope in (FLEET, "EUR", "h100")}
    facts = GateFacts(NOW, NOW, NOW, 3, money[FLEET], {"h100": money["h100"]}, closed_by=closed_by)
    return decide(POLICY, replace(facts, currencies={"EUR": money["EUR"]}), {})


@pytest.mark.parametrize(
    ("spent", "scope", "why"),
    [
        ({FLEET: 200}, FLEET, None),
        ({"EUR": 100}, "EUR", None),
        ({"h100": 50}, "h100", None),
        ({}, FLEET, "the gate is open"),
        ({"EUR": 100}, FLEET, "its limit is not spent; that of EUR is: mtok gate reset --currency EUR"),
        ({"EUR": 100}, "h100", "its limit is not spent; that of EUR is: mtok gate reset --currency EUR"),
        ({"h100": 50}, FLEET, "its limit is not spent; that of h100 is: mtok gate reset --tier h100"),
        ({FLEET: 200}, "EUR", "its limit is not spent; the account's is: mtok gate reset"),
    ],
)
def test_money_is_added_to_a_limit_that_is_spent_and_to_no_other(
    spent: Mapping[str, int], scope: str, why: str | None
) -> None:
    assert why_no_reset(verdict_of(spent), scope) == why


def test_a_closing_by_hand_is_no_matter_of_money() -> None:
    assert why_no_reset(verdict_of({}, "ada (x)")) == "it was closed by hand; mtok gate open"


@pytest.mark.parametrize(
    ("spent", "scope"),
    [
        ({}, FLEET),
        ({FLEET: 200}, FLEET),
        ({"EUR": 100}, "EUR"),
        ({FLEET: 200, "EUR": 100}, FLEET),
        ({"h100": 50}, FLEET),
    ],
)
def test_who_names_no_limit_gets_the_one_that_is_spent(spent: Mapping[str, int], scope: str) -> None:
    assert scope_to_reset(verdict_of(spent)) == scope


def test_a_limit_is_of_a_day_in_the_budgets_zone() -> None:
    assert day_limit(verdict_of({}), "EUR", NOW, POLICY.zone) == DayLimit("2026-11-25", 100 * UNIT, "EUR")


def test_another_day_and_another_limit_are_told_from_the_one_that_was_seen() -> None:
    assert SEEN.why_other(SEEN) is None
    assert SEEN.why_other(replace(SEEN, day="2026-11-25")) == "2026-11-24 is over, and its limit with it"
    assert SEEN.why_other(replace(SEEN, limit_nusd=250 * UNIT)) == "today's limit is $250.00 now, no longer $200.00"


def test_no_limit_outgrows_what_the_store_holds() -> None:
    room = MAX_NUSD - SEEN.limit_nusd
    assert SEEN.why_too_much(room) is None
    assert "at most $9,223,371,836.854775807 can be added" in (SEEN.why_too_much(room + 1) or "")
