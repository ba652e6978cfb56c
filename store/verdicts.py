"""The gate's facts out of the store, and its verdicts into it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import text
from sqlmodel import Session, col, func, select

from store.gate import (
    FLEET,
    GateFacts,
    GatePolicy,
    Reason,
    ScopeFacts,
    ScopeVerdict,
    Sight,
    Verdict,
    decide,
    provider_scope,
)
from store.headroom import Metered, Term, headroom, is_frozen, promised, total
from store.journal import note
from store.metered import metered_counters
from store.money import USD, format_nusd
from store.sights import best_sight, complete_ticks_since, sight_of, sight_of_all, with_day_unseen
from store.spend import Debit, currencies_of, debits_by_tier, debits_of, without_limit
from store.tables import Allowance, GateClosure, GateMemory, VerdictRow
from store.unknown import Unknown
from store.window import day_end, day_name, day_start

_LOCK = text("SELECT pg_advisory_xact_lock(7706876)")


@dataclass(frozen=True, slots=True)
class GateInputs:
    """What the gate decides by, as the store holds it for the day from `day_start` on; time alone is missing."""

    day_start: datetime
    sight: Sight
    providers: Mapping[str, Sight]
    metered: tuple[Metered, ...]
    debits: Sequence[Debit]
    allowances: Mapping[str, int]
    below: Mapping[str, int]
    closed_by: str | None
    before: Mapping[str, Sequence[Reason]]


def gate_inputs(session: Session, policy: GatePolicy, now: datetime) -> GateInputs:
    """All of it that is known at `now`; good until the store changes or the day ends."""
    today = day_start(now, policy.zone)
    metered = metered_counters(session, today, policy.frozen_after)
    providers = _sights(session, policy, metered)
    sights, pause = providers.values(), policy.dark_after
    closure, last = closed_by_hand(session), last_verdict(session)
    return GateInputs(
        day_start=today,
        sight=best_sight(session, sights, pause) if providers else sight_of_all(session, pause),
        providers=providers,
        metered=metered,
        debits=debits_by_tier(session, today, now),
        allowances=_allowances(session, policy, now),
        below=_ticks_below(session, of_any=bool(providers)),
        closed_by=f"{closure.actor} ({closure.reason})" if closure else None,
        before=by_scope(last) if last else {FLEET: (Reason.UNOBSERVED,)},
    )


def billed_in(inputs: GateInputs) -> set[str]:
    """The currencies in which something is billed today, or may be."""
    return {one.currency for one in inputs.metered} | currencies_of(inputs.debits)


def facts_of(inputs: GateInputs, policy: GatePolicy, now: datetime) -> GateFacts:
    """What the gate decides by at `now`."""
    terms = headroom(inputs.metered, now, day_end(now, policy.zone), policy.horizon)
    money = _Money(inputs.debits, terms, inputs.allowances, inputs.below)
    sight, last = inputs.sight, inputs.sight.last_complete_at
    limits = policy.tier_limits_nusd
    facts = GateFacts(
        now=now,
        last_complete_at=last,
        previous_complete_at=sight.previous_complete_at,
        complete_in_row=sight.complete_in_row,
        fleet=money.of_fleet(without_limit(billed_in(inputs), policy.currency_limits_nusd)),
        tiers={tier: money.of(tier, tier, policy.tier_currencies.get(tier, USD)) for tier in limits},
        currencies={currency: money.of(currency, None, currency) for currency in policy.currency_limits_nusd},
        frozen=tuple(one.counter for one in inputs.metered if last and is_frozen(one, last, policy.frozen_after)),
        closed_by=inputs.closed_by,
        terms=terms,
        providers=inputs.providers,
    )
    return with_day_unseen(policy, facts)


@dataclass(frozen=True, slots=True)
class _Money:
    """Today's money of the whole account, from which each scope takes its part."""

    debits: Sequence[Debit]
    terms: Sequence[Term]
    allowances: Mapping[str, int]
    below: Mapping[str, int]

    def of(self, scope: str, tier: str | None, currency: str) -> ScopeFacts:
        """One currency of one tier, or of the whole account."""
        debits = [one for one in self.debits if tier in (None, one.tier)]
        terms = [one for one in self.terms if tier in (None, one.tier)]
        if tier is None:
            debits = [one for one in debits if one.currency == currency]
            terms = [one for one in terms if one.currency == currency]
        others = sorted(({one.currency for one in terms} | currencies_of(debits)) - {currency})
        spent, room = debits_of(debits, tier), total(terms)
        if others:
            spent = room = Unknown(f"it bills in {' and '.join(others)}, and its limit is in {currency}")
        undecided = sum(one.undecided_nusd for one in terms)
        return ScopeFacts(spent, room, self.allowances.get(scope, 0), self.below.get(scope, 0), undecided)

    def of_fleet(self, why: Unknown | None) -> ScopeFacts:
        """The account's dollars; not known, and `why`, while something bills in a currency that has no limit."""
        facts = self.of(FLEET, None, USD)
        return facts if why is None else replace(facts, debits_nusd=why, headroom_nusd=why)


def _sights(session: Session, policy: GatePolicy, metered: Sequence[Metered]) -> dict[str, Sight]:
    """Each provider's own sight, where it closes its tiers alone."""
    found = {}
    for name in sorted(set(policy.provider_of.values())):
        last = sight_of(session, name, policy.dark_after).last_complete_at
        frozen = (one.counter for one in metered if last and is_frozen(one, last, policy.frozen_after))
        mine = {one.counter for one in metered if one.provider == name}
        found[name] = sight_of(session, name, policy.dark_after, tuple(one for one in frozen if one in mine))
    return found


def overspend_terms(session: Session, policy: GatePolicy, now: datetime) -> tuple[Term, ...]:
    """The bound on overspend at `now`, counter by counter: see `store.headroom.promised`."""
    metered = metered_counters(session, day_start(now, policy.zone), policy.frozen_after)
    return promised(metered, now, day_end(now, policy.zone), policy.horizon, policy.dark_hibernate_after)


def overspend(policy: GatePolicy, verdict: Verdict, promise: Sequence[Term]) -> dict[str, int | Unknown]:
    """By currency, what may be billed beyond its limit if the gate closes at it; `promise`: `overspend_terms`."""
    limits = (USD, *policy.currency_limits_nusd)
    unseen = verdict.facts.unseen
    if not policy.hibernates:
        return dict.fromkeys(limits, Unknown('on_exhausted = "refuse" promises none'))
    if unseen is not None:
        return dict.fromkeys(limits, unseen)
    found = {limit: total(one for one in promise if one.currency == limit) for limit in limits}
    why = without_limit({one.currency for one in promise}, limits)
    return found if why is None else {**found, USD: why}


def verdict_now(session: Session, policy: GatePolicy, now: datetime) -> Verdict:
    """The verdict at `now`, from the store alone: every reader comes to the same one."""
    return verdict_of(gate_inputs(session, policy, now), policy, now)


def verdict_of(inputs: GateInputs, policy: GatePolicy, now: datetime) -> Verdict:
    """The verdict at `now` from what was read within its day."""
    return decide(policy, facts_of(inputs, policy, now), inputs.before)


def record_verdict(session: Session, verdict: Verdict) -> bool:
    """Keep `verdict` if it differs from the last one kept; answers whether it did. Remembers who is below."""
    _remember(session, FLEET, verdict.fleet, verdict)
    for name, scope in {**verdict.tiers, **verdict.currencies}.items():
        _remember(session, name, scope, verdict)
    last = last_verdict(session)
    if last is not None and by_scope(last) == _compact(verdict.by_scope):
        return False
    debits = verdict.fleet.facts.counted_nusd
    others = {name: list(reasons) for name, reasons in verdict.by_scope.items() if reasons and name != FLEET}
    session.add(
        VerdictRow(
            at=verdict.facts.now,
            is_open=verdict.is_open,
            reasons=json.dumps(list(verdict.own)),
            debits_today_nusd=None if isinstance(debits, Unknown) else debits,
            limit_nusd=verdict.limit_nusd,
            tier_reasons=json.dumps(others),
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
        note(session, verdict.facts.now, "gate", "verdict", name or "gate", f"{change}: {_why(verdict, name)}")


def _why(verdict: Verdict, scope: str) -> str:
    for provider in verdict.blind:
        if scope == provider_scope(provider):
            return verdict.sentence_of(provider)
    return verdict.sentence_for(scope) if scope in verdict.tiers else verdict.sentence


def _remember(session: Session, scope: str, money: ScopeVerdict, verdict: Verdict) -> None:
    """Hysteresis: since when a reserved scope has been below its limit; forgotten once it is not."""
    known = session.get(GateMemory, scope)
    counts = Reason.RESERVED in money.reasons and money.is_below
    if counts and known is None and verdict.facts.last_complete_at is not None:
        session.add(GateMemory(scope=scope, below_since_at=verdict.facts.last_complete_at))
    elif not counts and known is not None:
        session.delete(known)


def _ticks_below(session: Session, *, of_any: bool) -> dict[str, int]:
    """By scope, the complete ticks from the first that saw it below."""
    memories = session.exec(select(GateMemory)).all()
    return {one.scope: complete_ticks_since(session, one.below_since_at, of_any=of_any) for one in memories}


def last_verdict(session: Session) -> VerdictRow | None:
    """The newest verdict kept: it holds since its `at`."""
    return session.exec(select(VerdictRow).order_by(col(VerdictRow.id).desc()).limit(1)).first()


def was_open_since(session: Session, policy: GatePolicy, tier: str, since: datetime) -> bool:
    """Whether `tier` could serve from `since` on without a break, by the verdicts kept; others' are theirs."""
    scopes = {FLEET, *policy.currency_limits_nusd, provider_scope(policy.provider_of.get(tier, "")), tier}
    newest_first = select(VerdictRow).order_by(col(VerdictRow.id).desc())
    then = session.exec(newest_first.where(VerdictRow.at <= since).limit(1)).first()
    if then is None:
        return False
    rows = session.exec(newest_first.where(col(VerdictRow.id) >= then.id)).all()
    return not any(reasons for row in rows for scope, reasons in by_scope(row).items() if scope in scopes)


def reasons_of(row: VerdictRow) -> tuple[Reason, ...]:
    """The reasons that a kept verdict names for the whole fleet; those of a currency's limit are its scope's."""
    return tuple(Reason(code) for code in json.loads(row.reasons))


def by_scope(row: VerdictRow) -> dict[str, tuple[Reason, ...]]:
    """The reasons that a kept verdict names, by scope; one without any is left out, but for the fleet."""
    others = json.loads(row.tier_reasons)
    return {
        FLEET: reasons_of(row),
        **{scope: tuple(Reason(code) for code in codes) for scope, codes in others.items()},
    }


def _compact(scopes: Mapping[str, tuple[Reason, ...]]) -> dict[str, tuple[Reason, ...]]:
    return {name: reasons for name, reasons in scopes.items() if reasons or name == FLEET}


def hold_allowances(session: Session) -> None:
    """Let whoever else adds to a limit wait for this transaction's end; SQLite has one writer at a time anyway."""
    connection = session.connection()  # SQLite takes its lock here, not at the first statement
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK)


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
