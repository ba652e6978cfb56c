"""Euros are shown as euros, everywhere; a dollar sign stands before dollars alone."""

import json
from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlmodel import col, select

from console.export.csv import fleet_rows
from console.export.explain import explain_body
from console.export.gate import gate_body, gate_text
from console.export.status import status_body
from console.export.text import explanation_text, status_text
from console.tui.cells import text_of
from console.tui.render.fleet import entries
from console.tui.render.status import gate_rows
from console.tui.render.tier import detail_rows
from store.budget_curve import budget_curve
from store.fleet_reader import FleetReader
from store.fleet_view import Fleet, TierSpec
from store.gate import GatePolicy
from store.tables import Tick
from store.unknown import Unknown
from store.verdict_then import verdict_at
from store.verdicts import overspend_terms, record_verdict, verdict_now
from store.window import Window
from store.words import Market
from tests.conftest import START, History

UNIT = 10**9
POLICY = GatePolicy(
    200 * UNIT,
    ZoneInfo("UTC"),
    timedelta(seconds=170),
    currency_limits_nusd={"EUR": 100 * UNIT},
    tier_limits_nusd={"h100": 90 * UNIT},
    tier_currencies={"h100": "EUR"},
)
SPEC = TierSpec("h100", "cloud", "H100 PCIe", Market.SPOT)


@pytest.fixture
def fleet(history: History) -> Fleet:
    """A tier that is billed in euro: 30 of them in half an hour, for a million tokens."""
    for minute in range(31):
        bill = history.bill(minute * UNIT, currency="EUR")
        history.tick(bill, totals=history.totals(minute, minute * 33_334))
    with history.database.write() as session:
        record_verdict(session, verdict_now(session, POLICY, history.clock.now()))
    return FleetReader(history.database, [SPEC], POLICY, timedelta(minutes=2)).read(history.clock.now())


def test_the_screen_shows_euros(fleet: Fleet) -> None:
    (tier,) = fleet.tiers
    (entry,) = entries(fleet, "today")
    assert entry.cells["today"] == "€30.00"
    assert entry.cells["output"] == "€29.9994"
    assert "€30.00" in "\n".join(map(text_of, detail_rows(tier, fleet.at, patience=timedelta(minutes=2))))
    gate = "\n".join(map(text_of, gate_rows(fleet, 200)))
    assert "€30.00 of €100.00" in gate
    assert "$30" not in gate


def test_status_gives_the_currency_and_no_dollars_that_are_none(fleet: Fleet) -> None:
    body = status_body(fleet)
    today = body["tiers"][0]["windows"]["today"]
    assert (today["currency"], today["spend"]) == ("EUR", "30.000000000")
    assert today["spend_usd"] == {"unknown": "it bills in EUR, and not in USD"}
    assert today["usd_per_mtok_output"] == {"unknown": "it bills in EUR, and not in USD"}
    tier = body["tiers"][0]
    assert tier["usd_per_mtok_implied_at_capacity"] == tier["rate_usd_per_hour"] == today["spend_usd"]
    assert body["gate"]["spend_today_usd"] == "0.000000000"
    assert body["gate"]["currencies"]["EUR"]["spend_today"] == "30.000000000"
    text = status_text(fleet)
    assert "spend today $0.00 of $200.00" in text
    assert "spend today €30.00 of €100.00" in text
    assert "€30.0000" in text
    assert ["EUR", "30.000000000"] in [row[11:13] for row in fleet_rows(fleet, ["h100"])]


def test_explain_adds_up_in_euros(history: History, fleet: Fleet) -> None:
    with history.database.read() as session:
        body = explain_body(session, SPEC, Window(START, history.clock.now()))
    assert (body["spend"]["currency"], body["spend"]["amount"]) == ("EUR", "30.000000000")
    assert "usd" not in json.dumps(body["spend"]).replace("nusd", "")
    text = explanation_text(body)
    assert "spend 30.000000000 EUR" in text
    assert "EUR/Mtok output" in text
    assert "$" not in text


def test_the_gate_shows_each_currency_with_its_own_bound(history: History, fleet: Fleet) -> None:
    with history.database.read() as session:
        verdict = verdict_now(session, POLICY, history.clock.now())
        body = gate_body(POLICY, verdict, overspend_terms(session, POLICY, history.clock.now()))
    assert body["fleet"]["debits_usd"] == "0.000000000"
    assert (body["currencies"]["EUR"]["debits"], body["currencies"]["EUR"]["currency"]) == ("30.000000000", "EUR")
    assert "debits_usd" not in body["currencies"]["EUR"]
    assert body["overspend_bound"]["usd"] == "0.000000000"
    assert float(body["overspend_bound"]["currencies"]["EUR"]) > 1
    text = gate_text(body)
    assert "EUR: reserved, 30.000000000 of 100.000000000 EUR" in text
    assert "h100: reserved, 30.000000000 of 90.000000000 EUR" in text
    tight = verdict_sentence(history, replace(POLICY, currency_limits_nusd={"EUR": 20 * UNIT}))
    assert tight == "€30.00 of €20.00 spent today; opens tomorrow, or by a reset"


def test_without_a_limit_in_it_nothing_is_said_to_be_bounded(history: History, fleet: Fleet) -> None:
    policy, now = replace(POLICY, currency_limits_nusd={}, tier_currencies={}), history.clock.now()
    with history.database.read() as session:
        body = gate_body(policy, verdict_now(session, policy, now), overspend_terms(session, policy, now))
        curve = budget_curve(session, policy, now, 24)
        tick = session.exec(select(Tick).order_by(col(Tick.at).desc()).limit(1)).one()
        past = verdict_at(session, policy, tick.at, tick).verdict
    why = {"unknown": "bills in EUR, and [budget.daily] has no limit in it"}
    assert [body["fleet"][f"{name}_usd"] for name in ("debits", "headroom", "bound")] == [why] * 3
    assert body["overspend_bound"]["usd"] == why
    mixed = {"unknown": "it bills in EUR, and its limit is in USD"}
    assert (body["tiers"]["h100"]["debits"], body["tiers"]["h100"]["headroom"]) == (mixed, mixed)
    assert "not billed yet, at most — (bills in EUR" in gate_text(body)
    assert "beyond the limit, at most — (bills in EUR" in gate_text(body)
    assert curve.points[-1].debits_nusd == past.fleet.facts.debits_nusd == Unknown(why["unknown"])


def verdict_sentence(history: History, policy: GatePolicy) -> str:
    with history.database.read() as session:
        return verdict_now(session, policy, history.clock.now()).sentence
