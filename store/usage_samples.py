"""The agents' ledgers at one tick: opened, handed to another tier, begun again after a fall; a sample for each."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Row, Select, func, insert
from sqlalchemy import select as core_select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from store.clock import rfc3339
from store.counters import USAGE_FIELDS
from store.journal import note
from store.readings import AgentReading, LedgerTotals
from store.tables import Ledger, UsageSample

CLONED = "one of them is a cloned disk"
_NEVER_FALL = USAGE_FIELDS[:6]


def record_usage(session: Session, agents: Mapping[str, AgentReading], at: datetime) -> dict[str, str]:
    """Keep a sample of every ledger that can be trusted; answers, by agent, why there is none."""
    problems, rows = {}, []
    owners: dict[str, str] = {}
    last = {(row.uuid, row.created_at): row for row in session.connection().execute(_last_totals())}
    for agent, reading in agents.items():
        if reading.totals is None or reading.problem is not None:
            problems[agent] = reading.problem or "no answer"
            continue
        other = owners.setdefault(reading.totals.uuid, agent)
        if other != agent:
            problems[agent] = f"agents {other} and {agent} have one ledger; {CLONED}"
            continue
        before = last.get((reading.totals.uuid, reading.totals.created_at))
        if before is not None and before.agent in agents.keys() - {agent} and _fallen(reading.totals, before):
            problems[agent] = f"agent {before.agent} had its ledger, with more in it; {CLONED}"
            continue
        ledger_id = _ledger(session, agent, reading.tier, reading.totals, before, at)
        capacity = {"capacity_per_ks": reading.capacity_per_ks}
        rows.append({"ledger_id": ledger_id, "at": at, **_values(reading.totals), **capacity})
    if rows:
        session.connection().execute(insert(UsageSample), rows)
    return problems


def _values(totals: "LedgerTotals | Row[Any]") -> dict[str, int]:
    return {name: getattr(totals, name) for name in USAGE_FIELDS}


def _ledger(
    session: Session, agent: str, tier: str, totals: LedgerTotals, before: Row[Any] | None, at: datetime
) -> int:
    """The id of the ledger with this identity: as known, handed over, begun again, or opened now."""
    if before is not None:
        fallen = _fallen(totals, before)
        if before.tier == tier and not fallen:
            return int(before.id)
        return _followed(session, agent, tier, totals, before, at, fallen)
    first = session.exec(select(func.min(Ledger.first_seen_at)).where(Ledger.tier == tier)).one()
    # one created after the tier's first sample starts from zero; an older one from what it holds now
    is_newborn = first is not None and totals.created_at >= first
    return _added(session, Ledger(**_identity(agent, tier, totals), first_seen_at=at, is_newborn=is_newborn))


def _fallen(totals: LedgerTotals, before: Row[Any]) -> list[str]:
    """In what a ledger holds less than at its last sample."""
    return [name for name in _NEVER_FALL if getattr(totals, name) < getattr(before, name)]


def _followed(
    session: Session,
    agent: str,
    tier: str,
    totals: LedgerTotals,
    before: Row[Any],
    at: datetime,
    fallen: Sequence[str],
) -> int:
    """The row that goes on where one was closed at its last sample: another tier names the agent now, or it fell.

    History stays with the closed one. The other begins with its last sample; but where it fell with what it holds
    now, since what it served in between is lost.
    """
    subject = f"ledger {totals.uuid}"
    if before.tier != tier:
        note(session, at, "settings", "tier changed", subject, f"{before.tier} → {tier}")
    old = session.get_one(Ledger, before.id)
    old.uuid = f"{old.uuid}@{rfc3339(before.at)}"
    session.flush()
    id_ = _added(session, Ledger(**_identity(agent, tier, totals), first_seen_at=before.at))
    if fallen:
        lost = f"what {agent} served after {rfc3339(before.at)} is lost"
        note(
            session, at, "agent", "ledger fell", subject, f"in {', '.join(fallen)}: a snapshot was restored; {lost}"
        )
    else:
        session.add(UsageSample(ledger_id=id_, at=before.at, **_values(before)))
        session.flush()
    return id_


def _identity(agent: str, tier: str, totals: LedgerTotals) -> dict[str, Any]:
    return {"uuid": totals.uuid, "created_at": totals.created_at, "tier": tier, "agent": agent}


def _added(session: Session, ledger: Ledger) -> int:
    session.add(ledger)
    session.flush()
    assert ledger.id is not None
    return ledger.id


@cache
def _last_totals() -> Select[Any]:
    """Every ledger with its last sample."""
    older = aliased(UsageSample)
    newest = (
        core_select(func.max(older.at)).where(col(older.ledger_id) == Ledger.id).correlate(Ledger).scalar_subquery()
    )
    columns = [getattr(UsageSample, name) for name in USAGE_FIELDS]
    of_ledger = [getattr(Ledger, name) for name in ("id", "uuid", "created_at", "tier", "agent")]
    is_it = (col(UsageSample.ledger_id) == Ledger.id) & (col(UsageSample.at) == newest)
    return core_select(*of_ledger, col(UsageSample.at), *columns).join(UsageSample, is_it)
