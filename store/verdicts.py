"""The gate's facts out of the store, and its verdicts into it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session, col, func, select

from store.gate import FLEET, GateFacts, GatePolicy, Reason, ScopeFacts, ScopeVerdict, Verdict, decide
from store.headroom import Metered, Term, headroom, is_frozen, promised, total
from store.journal import note
from store.metered import metered_counters
from store.money import format_nusd
from store.spend import Debit, debits_by_tier, debits_of
from store.tables import Allowance, GateClosure, GateMemory, Tick, VerdictRow
from store.unknown import Unknown
from store.window import day_end, day_name, day_start


@dataclass(frozen=True, slots=True)
class GateInputs:
    """What the gate decides by, as the store holds it for the day from `day_start` on; time alone is missing."""

    day_start: datetime
    complete: Sequence[datetime]
    complete_in_row: int
    metered: tuple[Metered, ...]
    debits: Sequence[Debit]
    allowances: Mapping[str, int]
    below: Mapping[str, int]
    closed_by: str | None
    before: Mapping[str, Sequence[Reason]]


def gate_inputs(session: Session, policy: GatePolicy, now: datetime) -> GateInputs:
    """All of it that is known at `now`; good until the store changes or the day ends."""
    today = day_start(now, policy.zone)
    closure, last = closed_by_hand(session), last_verdict(session)
    return GateInputs(
        day_start=today,
        complete=_last_two_complete(session),
        complete_in_row=_complete_in_row(session, policy.dark_after),
        metered=metered_counters(session, today, policy.frozen_after),
        debits=debits_by_tier(session, today, now),
        allowances=_allowances(session, policy, now),
        below=_ticks_below(session),
        closed_by=f"{closure.actor} ({closure.reason})" if closure else None,
        before=by_scope(last) if last else {FLEET: (Reason.UNOBSERVED,)},
    )


def facts_of(inputs: GateInputs, policy: GatePolicy, now: datetime) -> GateFacts:
    """What the gate decides by at `now`."""
    terms = headroom(inputs.metered, now, day_end(now, policy.zone), policy.horizon)

    def scope(name: str, parts: Sequence[Term], spent: int | Unknown) -> ScopeFacts:
        return ScopeFacts(spent, total(parts), inputs.allowances.get(name, 0), inputs.below.get(name, 0))

    complete = inputs.complete
    last = complete[0] if complete else None
    frozen = (one.counter for one in inputs.metered if last and is_frozen(one, last, policy.frozen_after))
    return GateFacts(
        now=now,
        last_complete_at=last,
        previous_complete_at=complete[1] if len(complete) > 1 else None,
        complete_in_row=inputs.complete_in_row,
        fleet=scope(FLEET, terms, debits_of(inputs.debits, None)),
        tiers={
            tier: scope(tier, [term for term in terms if term.tier == tier], debits_of(inputs.debits, tier))
            for tier in policy.tier_limits_nusd
        },
        frozen=tuple(frozen),
        closed_by=inputs.closed_by,
        terms=terms,
    )


def overspend_terms(session: Session, policy: GatePolicy, now: datetime) -> tuple[Term, ...]:
    """The bound on overspend at `now`, counter by counter: see `store.headroom.promised`."""
    metered = metered_counters(session, day_start(now, policy.zone), policy.frozen_after)
    return promised(metered, now, day_end(now, policy.zone), policy.horizon, policy.dark_hibernate_after)


def verdict_now(session: Session, policy: GatePolicy, now: datetime) -> Verdict:
    """The verdict at `now`, from the store alone: every reader comes to the same one."""
    return verdict_of(gate_inputs(session, policy, now), policy, now)


def verdict_of(inputs: GateInputs, policy: GatePolicy, now: datetime) -> Verdict:
    """The verdict at `now` from what was read within its day."""
    return decide(policy, facts_of(inputs, policy, now), inputs.before)


def record_verdict(session: Session, verdict: Verdict) -> bool:
    """Keep `verdict` if it differs from the last one kept; answers whether it did. Remembers who is below."""
    _remember(session, FLEET, verdict.fleet, verdict)
    for tier, scope in verdict.tiers.items():
        _remember(session, tier, scope, verdict)
    last = last_verdict(session)
    if last is not None and by_scope(last) == _compact(verdict.by_scope):
        return False
    debits = verdict.facts.debits_today_nusd
    tiers = {tier: list(scope.reasons) for tier, scope in verdict.tiers.items() if scope.reasons}
    session.add(
        VerdictRow(
            at=verdict.facts.now,
            is_open=verdict.is_open,
            reasons=json.dumps(list(verdict.reasons)),
            debits_today_nusd=None if isinstance(debits, Unknown) else debits,
            limit_nusd=verdict.limit_nusd,
            tier_reasons=json.dumps(tiers),
        )
    )
    _journal(session, verdict, by_scope(last) if last else {FLEET: (Reason.UNOBSERVED,)})
    return True


def _journal(session: Session, verdict: Verdict, before: Mapping[str, Sequence[Reason]]) -> None:
    """One entry for every scope whose reasons are others than before."""
    for name, reasons in verdict.by_scope.items():
        was = tuple(before.get(name, ()))
        if was == reasons:
            continue
        change = f"{', '.join(was) or 'open'} → {', '.join(reasons) or 'open'}"
        why = verdict.sentence if name == FLEET else verdict.sentence_for(name)
        note(session, verdict.facts.now, "gate", "verdict", name or "gate", f"{change}: {why}")


def _remember(session: Session, scope: str, money: ScopeVerdict, verdict: Verdict) -> None:
    """Hysteresis: since when a reserved scope has been below its limit; forgotten once it is not."""
    known = session.get(GateMemory, scope)
    counts = Reason.RESERVED in money.reasons and money.is_below
    if counts and known is None and verdict.facts.last_complete_at is not None:
        session.add(GateMemory(scope=scope, below_since_at=verdict.facts.last_complete_at))
    elif not counts and known is not None:
        session.delete(known)


def _ticks_below(session: Session) -> dict[str, int]:
    """By scope, the complete ticks from the first that saw it below."""
    found = {}
    for memory in session.exec(select(GateMemory)).all():
        ticks = select(func.count()).where(col(Tick.complete), col(Tick.at) >= memory.below_since_at)
        found[memory.scope] = session.exec(ticks.select_from(Tick)).one()
    return found


def last_verdict(session: Session) -> VerdictRow | None:
    """The newest verdict kept: it holds since its `at`."""
    return session.exec(select(VerdictRow).order_by(col(VerdictRow.id).desc()).limit(1)).first()


def reasons_of(row: VerdictRow) -> tuple[Reason, ...]:
    """The reasons that a kept verdict names for the whole fleet."""
    return tuple(Reason(code) for code in json.loads(row.reasons))


def by_scope(row: VerdictRow) -> dict[str, tuple[Reason, ...]]:
    """The reasons that a kept verdict names, by scope; a tier without any is left out."""
    tiers = json.loads(row.tier_reasons)
    return {
        FLEET: reasons_of(row),
        **{tier: tuple(Reason(code) for code in codes) for tier, codes in tiers.items()},
    }


def _compact(scopes: Mapping[str, tuple[Reason, ...]]) -> dict[str, tuple[Reason, ...]]:
    return {name: reasons for name, reasons in scopes.items() if reasons or name == FLEET}


def add_allowance(
    session: Session,
    policy: GatePolicy,
    now: datetime,
    amount_nusd: int,
    actor: str,
    reason: str,
    scope: str = FLEET,
) -> None:
    """Add money to today's limit, journaled; the caller has asked `why_no_reset` first."""
    day = day_name(now, policy.zone)
    session.add(Allowance(day=day, amount_nusd=amount_nusd, at=now, actor=actor, reason=reason, scope=scope))
    note(session, now, actor, "gate reset", scope or "gate", f"+{format_nusd(amount_nusd)} for {day}: {reason}")


def closed_by_hand(session: Session) -> GateClosure | None:
    """The closing by hand that is in force, if one is."""
    query = select(GateClosure).where(col(GateClosure.opened_at).is_(None))
    return session.exec(query.order_by(col(GateClosure.id).desc()).limit(1)).first()


def close_by_hand(session: Session, now: datetime, actor: str, reason: str) -> None:
    """Close the gate until somebody opens it, journaled."""
    session.add(GateClosure(at=now, actor=actor, reason=reason))
    note(session, now, actor, "gate close", "gate", reason)


def open_by_hand(session: Session, closure: GateClosure, now: datetime, actor: str, reason: str) -> None:
    """End a closing by hand, journaled; other reasons go on holding the gate closed."""
    closure.opened_at, closure.opened_by, closure.opened_reason = now, actor, reason
    session.add(closure)
    note(session, now, actor, "gate open", "gate", reason)


def _allowances(session: Session, policy: GatePolicy, now: datetime) -> dict[str, int]:
    query = select(Allowance.scope, func.sum(Allowance.amount_nusd)).where(
        Allowance.day == day_name(now, policy.zone)
    )
    return {scope: int(nusd) for scope, nusd in session.exec(query.group_by(col(Allowance.scope))).all()}


def _last_two_complete(session: Session) -> Sequence[datetime]:
    query = select(Tick.at).where(col(Tick.complete)).order_by(col(Tick.at).desc()).limit(2)
    return session.exec(query).all()


def _complete_in_row(session: Session, longest_pause: timedelta) -> int:
    """How many of the newest ticks were complete, one after the other; counts to three."""
    newest = session.exec(select(Tick).order_by(col(Tick.at).desc()).limit(3)).all()
    count = 0
    for index, tick in enumerate(newest):
        if not tick.complete or (index and newest[index - 1].at - tick.at > longest_pause):
            break
        count += 1
    return count
