"""Providers that leave the settings: their bills rest, hold up no gate, and go on under a section's new name."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlmodel import select

from store.backfill import missing_samples
from store.check import check
from store.figures import Spend
from store.figures_read import figures
from store.gate import GatePolicy
from store.inventory import keep_resources
from store.readings import AgentReading, ProviderReading, TickReadings, TierResources
from store.reconcile import counted
from store.samples import record_tick
from store.tables import BillCounter, JournalEntry, ResourceRow
from store.verdicts import verdict_now
from store.window import Window
from store.words import ResourceKind, State
from tests.conftest import START, History, debits_between

USD = 10**9
POLICY = GatePolicy(1000 * USD, ZoneInfo("UTC"), timedelta(seconds=170))
LONG = timedelta(minutes=5)


def told(history: History, bills: dict[str, int], minutes: int = 1, **changes: object) -> None:
    """Ticks of a machine that costs $1 a minute: by provider, what its bill holds at the first of them."""
    for minute in range(minutes):
        at = history.clock.now()
        agents: dict[str, AgentReading] = {}
        providers = {
            name: ProviderReading((history.bill((total + minute) * USD, **changes),), None, 5)
            for name, total in bills.items()
        }
        tiers = {"h100": TierResources(next(iter(bills)), history.resources, running=1)}
        record_tick(history.database, TickReadings(at, 5, providers, agents, tiers), history.fence)
        with history.database.write() as session:
            for name in bills:
                row = ResourceRow(
                    provider=name,
                    kind=ResourceKind.INSTANCE,
                    resource_id="8429",
                    tier="h100",
                    name="h100-a",
                    state=State.RUNNING,
                    raw_state="RUNNING",
                    can_sleep=True,
                    seen_at=at,
                )
                keep_resources(session, name, [row], at, complete=True)
        history.clock.advance(60)


def spent_usd(history: History) -> float:
    """Since the first tick, by the figures and by the gate alike."""
    now = history.clock.now()
    with history.database.read() as session:
        spend = figures(session, "h100", Window(START, now)).spend
        debits = debits_between(session, START, now)
    assert isinstance(spend, Spend), spend
    assert spend.nusd == debits
    return spend.nusd / USD


def journaled(history: History) -> list[tuple[str, str]]:
    with history.database.read() as session:
        return [(entry.what, entry.subject) for entry in session.exec(select(JournalEntry)).all()]


def test_a_provider_that_was_taken_out_holds_up_no_gate(history: History) -> None:
    other = {"counter": "usage:vm:1", "resource_id": "1"}
    told(history, {"cloud": 100}, 5)
    told(history, {"new": 0}, 30, **other)
    with history.database.read() as session:
        verdict = verdict_now(session, POLICY, history.clock.now())
    assert verdict.is_open, verdict.sentence
    assert {term.counter for term in verdict.facts.terms} == {"usage:vm:1"}
    assert [entry for entry in journaled(history) if entry[0] == "provider retired"] == [
        ("provider retired", "cloud")
    ]


def test_a_provider_that_comes_back_counts_on_from_where_it_was(history: History) -> None:
    other = {"counter": "usage:vm:1", "resource_id": "1"}
    told(history, {"cloud": 100}, 5)
    told(history, {"new": 0}, 5, **other)
    told(history, {"cloud": 110}, 5)
    with history.database.read() as session:
        counter = session.exec(select(BillCounter).where(BillCounter.provider == "cloud")).one()
    assert counter.final_at is None
    assert spent_usd(history) == 14 + 4


def test_a_fall_that_is_decided_after_the_counter_has_ended_is_a_debit_of_that_instant(history: History) -> None:
    other = {"counter": "usage:vm:1", "resource_id": "1"}
    for total in (100, 50, 60):
        told(history, {"cloud": total})
    told(history, {"new": 0}, 3, **other)
    since = history.clock.now() - timedelta(seconds=1)
    told(history, {"cloud": 60}, final=True)
    with history.database.read() as session:
        assert debits_between(session, since, history.clock.now()) == 10 * USD


@pytest.mark.parametrize("names", [("renamed",), ("renamed", "cloud"), ("renamed", "again")])
def test_a_renamed_provider_goes_on_with_its_bills(history: History, names: tuple[str, ...]) -> None:
    told(history, {"cloud": 100}, 20)
    for index, name in enumerate(names, start=1):
        told(history, {name: 100 + 20 * index}, 20)
    assert spent_usd(history) == 20 * (1 + len(names)) - 1
    now, name = history.clock.now(), names[-1]
    with history.database.read() as session:
        verdict = verdict_now(session, POLICY, now)
        assert list(missing_samples(session, name, now, ZoneInfo("UTC"), LONG)) == []
        *_, part = counted(session, name, START, now)
    assert verdict.is_open, verdict.sentence
    assert len(verdict.facts.terms) == 1
    assert part.first is not None
    assert part.first.as_of_at == START + timedelta(minutes=20 * len(names) - 1)  # the edge that reconcile asks for
    assert journaled(history).count(("provider changed", "usage:vm:8429")) == len(names)
    assert check(history.database) == []


def test_a_lower_total_or_a_bill_that_both_have_read_is_another_counter(history: History) -> None:
    told(history, {"cloud": 100}, 2)
    told(history, {"other": 50}, 2)
    told(history, {"other": 52, "beside": 60}, 2)
    told(history, {"beside": 62}, 2)
    assert "provider changed" not in [what for what, _ in journaled(history)]
