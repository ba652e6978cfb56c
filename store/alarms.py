"""Alarms: what a person must hear of, once each, for as long as it lasts."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import aliased
from sqlmodel import Session, and_, col, func, not_, or_, select

from store.clock import rfc3339
from store.gate import FLEET, GatePolicy, Reason, Verdict, provider_scope
from store.money import display
from store.operations import under_way
from store.phases import WAKE_FAILED, WAKE_TIMEOUT, OperationKind, OperationOutcome, Phase
from store.states import is_up_since
from store.tables import AlarmRow, BillCounter, Gap, Ledger, OperationRow, ResourceRow, Tick, UsageSample
from store.unknown import Unknown
from store.usage_samples import CLONED
from store.window import day_name

_CLOSED, _BECAUSE = "gate_closed", ": "
BUDGET_SHARES = (50, 80, 95)
_LATELY = timedelta(hours=1)
_FAILURES = (WAKE_TIMEOUT, WAKE_FAILED, "no_capacity", "still_billing")
_TOLD_WITHIN = timedelta(days=1)  # what has been over for longer is in the journal, and nobody's alarm any more


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is wrong now. `kind` and `subject` are its identity; a closed gate's names its reasons."""

    kind: str
    subject: str
    text: str


def conditions(session: Session, policy: GatePolicy, verdict: Verdict) -> list[Condition]:
    """Everything that is wrong by what the store knows, at the verdict's instant."""
    return [
        *_closed(verdict),
        *_frozen(verdict),
        *_unsettled(session),
        *_fallen(session, verdict.facts.now),
        *_cloned(session),
        *_budget(policy, verdict),
        *_operations(session, policy, verdict.facts.now),
        *_preempted(session),
    ]


def follow(session: Session, now: datetime, found: Collection[Condition]) -> None:
    """Raise what is new, end what is over. A gate that opens again is news, and so is a new reason to close it."""
    known = {_key(row): row for row in _open(session)}
    present = {_key(one): one for one in found}
    for key, one in present.items():
        row = known.get(key)
        if row is not None and _reasons(one) <= _reasons(row):
            row.subject = one.subject  # a reason that has ended is news when it comes again
            continue
        if row is not None:
            row.ended_at = now
        session.add(AlarmRow(at=now, kind=one.kind, subject=one.subject, text=one.text))
    for key, row in known.items():
        if key in present:
            continue
        row.ended_at = now
        session.add(row)
        if row.kind == _CLOSED:
            scope = _key(row)[1]
            tell(session, now, "gate_opened", scope, f"{scope} is open again")


def _key(one: Condition | AlarmRow) -> tuple[str, str]:
    """What an alarm goes on as: a closed gate's whatever its reasons."""
    if one.kind != _CLOSED:
        return one.kind, one.subject
    scope, is_told, _ = one.subject.rpartition(_BECAUSE)
    return one.kind, scope if is_told else _scope(one.subject)


def _reasons(one: Condition | AlarmRow) -> set[str]:
    return set(one.subject.rpartition(_BECAUSE)[2].split(", ")) if one.kind == _CLOSED else set()


def tell(session: Session, now: datetime, kind: str, subject: str, text: str) -> None:
    """Raise something that has no duration: it is over as soon as it was said."""
    session.add(AlarmRow(at=now, kind=kind, subject=subject, text=text, ended_at=now))


def untold(session: Session, now: datetime) -> Sequence[AlarmRow]:
    """What has not reached every channel yet and lasts, or was raised within a day; oldest first."""
    matters = or_(col(AlarmRow.ended_at).is_(None), col(AlarmRow.at) > now - _TOLD_WITHIN)
    query = select(AlarmRow).where(col(AlarmRow.told_at).is_(None), matters)
    return session.exec(query.order_by(col(AlarmRow.id))).all()


def told_since(session: Session, since: datetime) -> int:
    """How many alarms went out after `since`."""
    query = select(func.count()).select_from(AlarmRow).where(col(AlarmRow.told_at) > since)
    return session.exec(query).one()


def _open(session: Session) -> Sequence[AlarmRow]:
    return session.exec(select(AlarmRow).where(col(AlarmRow.ended_at).is_(None))).all()


def _closed(verdict: Verdict) -> list[Condition]:
    found = [_gate_closed(FLEET, verdict.reasons, f"the gate is closed: {verdict.sentence}")]
    for tier, scope in verdict.tiers.items():
        text = f"the gate of {tier} is closed: {verdict.sentence_for(tier)}"
        found.append(_gate_closed(tier, scope.reasons, text))
    for provider, reasons in verdict.blind.items():
        text = f"the gate of every tier at {provider} is closed: {verdict.sentence_of(provider)}"
        found.append(_gate_closed(provider_scope(provider), reasons, text))
    return [one for one in found if one is not None]


def _gate_closed(scope: str, reasons: Sequence[Reason], text: str) -> Condition | None:
    return Condition(_CLOSED, f"{_scope(scope)}{_BECAUSE}{', '.join(reasons)}", text) if reasons else None


def _frozen(verdict: Verdict) -> list[Condition]:
    return [
        Condition("bill_frozen", counter, f"{counter} stands still while its instance runs")
        for counter in verdict.facts.frozen
    ]


def _scope(subject: str) -> str:
    return f"the gate of {subject}" if subject else "the gate"


def _unsettled(session: Session) -> list[Condition]:
    rows = session.exec(select(BillCounter).where(col(BillCounter.unsettled_at).is_not(None))).all()
    return [
        Condition("bill_unsettled", one.counter, f"{one.counter} vanished; mtok counter settle {one.id} --reason …")
        for one in rows
    ]


def _fallen(session: Session, now: datetime) -> Iterator[Condition]:
    """Ledgers whose totals fell lately: their first sample since is later than where they went on from."""
    older = aliased(UsageSample)
    first = select(func.min(older.at)).where(older.ledger_id == Ledger.id).correlate(Ledger).scalar_subquery()
    is_it = (col(UsageSample.ledger_id) == Ledger.id) & (col(UsageSample.at) == first)
    lately = (col(UsageSample.at) > now - _LATELY, col(Ledger.first_seen_at) < UsageSample.at)
    for row, at in session.exec(select(Ledger, UsageSample.at).join(UsageSample, is_it).where(*lately)).all():
        lost = f"what {row.agent} served from {rfc3339(row.first_seen_at)} to {rfc3339(at)} is lost"
        text = f"{row.tier}: the ledger of {row.agent} fell, a snapshot was restored; {lost}"
        yield Condition("ledger_fell", f"{row.agent} at {rfc3339(at)}", text)


def _cloned(session: Session) -> Iterator[Condition]:
    """Agents that said at the last tick what another one's ledger holds: their tier's usage is not known."""
    newest = select(func.max(Tick.at)).scalar_subquery()
    query = select(Gap).where(Gap.at == newest, col(Gap.problem).endswith(CLONED))
    for gap in session.exec(query.order_by(col(Gap.source))).all():
        yield Condition("ledger_cloned", gap.source, gap.problem)


def _budget(policy: GatePolicy, verdict: Verdict) -> list[Condition]:
    """Each share of a limit, once a day."""
    day, found = day_name(verdict.facts.now, policy.zone), []
    for name, scope in {FLEET: verdict.fleet, **verdict.currencies, **verdict.tiers}.items():
        spent = scope.facts.debits_nusd
        if isinstance(spent, Unknown):
            continue
        for share in BUDGET_SHARES:
            if spent * 100 >= scope.limit_nusd * share:
                of_limit = f"{display(spent, scope.currency)} of {display(scope.limit_nusd, scope.currency)}"
                text = f"{of_limit} spent today ({share} %)"
                subject = f"{name or 'fleet'} {share} % {day}"
                found.append(Condition("budget", subject, f"{name}: {text}" if name else text))
    return found


def _operations(session: Session, policy: GatePolicy, now: datetime) -> Iterator[Condition]:
    """Wakes that are slow or have failed, and what cannot be put to sleep or goes on billing when it is."""
    failed = select(OperationRow).where(
        OperationRow.outcome == OperationOutcome.FAILED, col(OperationRow.finished_at) > now - _LATELY
    )
    for row in session.exec(failed).all():
        kind = row.detail.partition(":")[0]
        if kind in _FAILURES:
            yield Condition(kind, f"operation {row.id}", f"{row.kind} of {row.tier} failed: {row.detail}")
    for row in _not_asleep(session):
        yield Condition("hibernate_failed", row.tier, f"hibernate of {row.tier} failed: {row.detail}")
    for row in under_way(session):
        if row.phase == Phase.ASLEEP and row.detail:
            yield Condition("still_billing", f"operation {row.id}", f"{row.tier}: {row.detail}")
        if row.kind == OperationKind.WAKE and now - row.requested_at > policy.wake_warn_after:
            minutes = (now - row.requested_at).total_seconds() / 60
            text = f"waking {row.tier} has taken {minutes:.0f} min and is at {row.phase}"
            yield Condition("wake_slow", f"operation {row.id}", text)


def _not_asleep(session: Session) -> Iterator[OperationRow]:
    """The last hibernate of each tier that failed and is up still, until another is done or a wake is asked for.

    Whoever is asleep by the provider's word has an alarm of its own while its bill rises.
    """
    counts = or_(col(OperationRow.outcome).is_(None), OperationRow.outcome != OperationOutcome.REFUSED)
    is_tried_again = and_(OperationRow.kind == OperationKind.HIBERNATE, col(OperationRow.finished_at).is_(None))
    newest = select(func.max(OperationRow.id)).where(counts, not_(is_tried_again)).group_by(col(OperationRow.tier))
    failed = select(OperationRow).where(
        col(OperationRow.id).in_(newest),
        OperationRow.kind == OperationKind.HIBERNATE,
        OperationRow.outcome == OperationOutcome.FAILED,
    )
    for row in session.exec(failed.order_by(col(OperationRow.tier))).all():
        if row.finished_at is not None and is_up_since(session, row.tier, row.finished_at):
            yield row


def _preempted(session: Session) -> Iterator[Condition]:
    query = select(ResourceRow).where(col(ResourceRow.unasked_at).is_not(None))
    for row in session.exec(query).all():
        at = row.unasked_at
        assert at is not None
        text = f"{row.tier}: {row.resource_id} stopped at {at:%H:%M:%S} UTC ({row.raw_state}) and nobody had asked"
        yield Condition("preempted", f"{row.tier}/{row.resource_id}", text)
