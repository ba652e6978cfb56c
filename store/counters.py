"""Counters: their identities, their samples at an edge, and what they held before our time."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.orm import aliased
from sqlmodel import Session, col, func, select

from store.readings import Bill
from store.tables import BillCounter, BillSample, Ledger, UsageSample


def find_or_open(
    session: Session, provider: str, bill: Bill, at: datetime, last_complete_at: datetime | None
) -> BillCounter:
    """The counter that `bill` is a reading of, opened at its first sight.

    Born after the provider's last complete tick, it starts from zero. Otherwise it ran before our time:
    what it held then is its opening balance, known to reconciliation and no part of any spend.
    """
    query = select(BillCounter).where(BillCounter.provider == provider, BillCounter.counter == bill.counter)
    counter = session.exec(query).first()
    if counter is None:
        is_newborn = (
            last_complete_at is not None
            and bill.started_at is not None
            and bill.started_at >= last_complete_at.replace(microsecond=0)  # providers state whole seconds
        )
        counter = BillCounter(
            provider=provider,
            counter=bill.counter,
            kind=bill.kind,
            resource_id=bill.resource_id,
            name=bill.name,
            tier=bill.tier,
            currency=bill.currency,
            started_at=bill.started_at,
            first_seen_at=at,
            opening_nusd=0 if is_newborn else bill.total_nusd,
            excluded=bill.excluded,
        )
        session.add(counter)
        session.flush()
    return counter


def ledger_of(session: Session, uuid: str, created_at: datetime, tier: str, agent: str, at: datetime) -> Ledger:
    """The ledger with this identity, opened at its first sight.

    One created after the tier's first sample starts from zero; an older one from what it holds now.
    """
    query = select(Ledger).where(Ledger.uuid == uuid, Ledger.created_at == created_at)
    ledger = session.exec(query).first()
    if ledger is None:
        first = session.exec(select(func.min(Ledger.first_seen_at)).where(Ledger.tier == tier)).one()
        ledger = Ledger(
            uuid=uuid,
            created_at=created_at,
            tier=tier,
            agent=agent,
            first_seen_at=at,
            is_newborn=first is not None and created_at >= first,
        )
        session.add(ledger)
        session.flush()
    return ledger


def last_bill(session: Session, counter_id: int) -> BillSample | None:
    """A counter's newest sample."""
    query = select(BillSample).where(BillSample.counter_id == counter_id)
    return session.exec(query.order_by(col(BillSample.at).desc()).limit(1)).first()


def first_bill(session: Session, counter_id: int) -> BillSample | None:
    """A counter's oldest sample: what it held when we first saw it."""
    query = select(BillSample).where(BillSample.counter_id == counter_id)
    return session.exec(query.order_by(col(BillSample.at)).limit(1)).first()


def last_usage(session: Session, ledger_id: int) -> UsageSample | None:
    """A ledger's newest sample."""
    query = select(UsageSample).where(UsageSample.ledger_id == ledger_id)
    return session.exec(query.order_by(col(UsageSample.at).desc()).limit(1)).first()


def bills_at(session: Session, edge: datetime, tier: str | None) -> dict[int, BillSample]:
    """By counter, its last sample at or before `edge`; of one tier, or of all: one index seek a counter."""
    inner = aliased(BillSample)
    newest = (
        select(func.max(inner.at))
        .where(inner.counter_id == BillCounter.id, inner.at <= edge)
        .correlate(BillCounter)
        .scalar_subquery()
    )
    query = select(BillSample).join(
        BillCounter, (col(BillSample.counter_id) == BillCounter.id) & (col(BillSample.at) == newest)
    )
    if tier is not None:
        query = query.where(BillCounter.tier == tier)
    return {sample.counter_id: sample for sample in session.exec(query)}


def usage_at(session: Session, edge: datetime, tier: str) -> dict[int, UsageSample]:
    """By ledger of `tier`, its last sample at or before `edge`."""
    inner = aliased(UsageSample)
    newest = (
        select(func.max(inner.at))
        .where(inner.ledger_id == Ledger.id, inner.at <= edge)
        .correlate(Ledger)
        .scalar_subquery()
    )
    query = (
        select(UsageSample)
        .join(Ledger, (col(UsageSample.ledger_id) == Ledger.id) & (col(UsageSample.at) == newest))
        .where(Ledger.tier == tier)
    )
    return {sample.ledger_id: sample for sample in session.exec(query)}


def counters_of(session: Session, tier: str | None) -> Sequence[BillCounter]:
    """The bill counters of one tier, or of all, in the order in which we met them."""
    query = select(BillCounter).order_by(col(BillCounter.id))
    return session.exec(query if tier is None else query.where(BillCounter.tier == tier)).all()


def ledgers_of(session: Session, tier: str) -> Sequence[Ledger]:
    """The ledgers of one tier, in the order in which we met them."""
    return session.exec(select(Ledger).where(Ledger.tier == tier).order_by(col(Ledger.id))).all()


def first_usage(session: Session, ledger_id: int) -> UsageSample | None:
    """A ledger's oldest sample."""
    query = select(UsageSample).where(UsageSample.ledger_id == ledger_id)
    return session.exec(query.order_by(col(UsageSample.at)).limit(1)).first()
