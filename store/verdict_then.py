"""The gate's verdict of a past instant: as it was kept, and dark where nobody was there to keep one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from store.budget_curve import AllowanceView, allowances_at, debits_since, recorded_limit
from store.gate import (
    FLEET,
    GateFacts,
    GatePolicy,
    Reason,
    ScopeFacts,
    ScopeVerdict,
    Sight,
    Verdict,
    provider_scope,
)
from store.money import USD
from store.sights import with_day_unseen
from store.tables import Allowance, GateClosure, ProviderTick, Tick, VerdictRow
from store.unknown import NOT_RECORDED
from store.verdicts import by_scope
from store.window import day_start

_STORED_WITHIN = timedelta(seconds=5)  # a tick bears the instant at which it began; its verdict follows its commit
_WHICH = "a bill counter (the journal names it)"


@dataclass(frozen=True, slots=True)
class Past:
    """A verdict of a past instant; `closed_since` is None for an open one."""

    verdict: Verdict
    closed_since: datetime | None


def verdict_at(session: Session, policy: GatePolicy, at: datetime, tick: Tick) -> Past:
    """The verdict at `at`, whose newest tick is `tick`. Headroom was not recorded; debits are in the samples.

    `dark` is added where the last complete tick was older than `dark_after`: a dead collector keeps no verdict, and
    every agent had closed by then. Of a tier's own limit only the reasons were recorded: it is that of `policy`.
    """
    row = _kept_at(session, at, tick)
    scopes = by_scope(row) if row is not None else {FLEET: (Reason.UNOBSERVED,)}
    facts = _facts(session, policy, at)
    own, since = scopes.pop(FLEET, ()), min(row.at, at) if row is not None else None
    last = facts.last_complete_at
    if last is not None and at - last > policy.dark_after and Reason.DARK not in own:
        since = last + policy.dark_after if not own else since
        own = (Reason.DARK, *own)
    base = policy.limit_nusd if row is None else recorded_limit(session, policy, row)
    limits = policy.currency_limits_nusd
    currencies = _scopes(scopes, facts, facts.currencies, limits, {name: name for name in limits})
    reasons = tuple(dict.fromkeys((*own, *(reason for one in currencies.values() for reason in one.reasons))))
    verdict = Verdict(
        not reasons,
        reasons,
        _named(facts, own),
        fleet=ScopeVerdict(own, facts.seen(facts.fleet), base + facts.fleet.allowances_nusd, is_below=False),
        tiers=_scopes(scopes, facts, facts.tiers, policy.tier_limits_nusd, policy.tier_currencies),
        currencies=currencies,
        own=own,
        blind={name: scopes[provider_scope(name)] for name in facts.providers if provider_scope(name) in scopes},
        provider_of=policy.provider_of,
    )
    return Past(verdict, since if reasons else None)


def _kept_at(session: Session, at: datetime, tick: Tick) -> VerdictRow | None:
    """The verdict in force `at`: the newest kept by then, or, as if kept with its tick, the tick's own.

    That is the first one after the tick; once a person has acted after `at` it is no longer the tick's alone.
    """
    newest = select(VerdictRow).where(VerdictRow.at <= at).order_by(col(VerdictRow.id).desc()).limit(1)
    row = session.exec(newest).first()
    if row is not None and row.at >= tick.at:
        return row
    stored_by = tick.at + timedelta(milliseconds=tick.duration_ms) + _STORED_WITHIN
    later = select(VerdictRow).where(VerdictRow.at > at, VerdictRow.at <= stored_by).order_by(col(VerdictRow.id))
    own = session.exec(later.limit(1)).first()
    return row if own is None or _has_anybody_acted(session, at, own.at) else own


def _has_anybody_acted(session: Session, after: datetime, until: datetime) -> bool:
    """Whether a person closed, opened or reset the gate in between."""
    acts = (col(GateClosure.at), col(GateClosure.opened_at), col(Allowance.at))
    return any(session.exec(select(act).where(act > after, act <= until).limit(1)).first() for act in acts)


def _scopes(
    reasons: Mapping[str, tuple[Reason, ...]],
    facts: GateFacts,
    money: Mapping[str, ScopeFacts],
    limits: Mapping[str, int],
    currencies: Mapping[str, str],
) -> dict[str, ScopeVerdict]:
    """What was kept of each scope that has a limit."""
    return {
        name: ScopeVerdict(
            reasons.get(name, ()),
            facts.seen(money[name]),
            limit + money[name].allowances_nusd,
            is_below=False,
            currency=currencies.get(name, USD),
        )
        for name, limit in limits.items()
    }


def _facts(session: Session, policy: GatePolicy, at: datetime) -> GateFacts:
    given = allowances_at(session, policy, at)
    complete = select(Tick.at).where(col(Tick.complete), Tick.at <= at).order_by(col(Tick.at).desc())
    newest = session.exec(complete.limit(2)).all()
    facts = GateFacts(
        now=at,
        last_complete_at=newest[0] if newest else None,
        previous_complete_at=newest[1] if len(newest) > 1 else None,
        complete_in_row=0,
        fleet=_scope(session, policy, at, given, FLEET),
        tiers={tier: _scope(session, policy, at, given, tier) for tier in policy.tier_limits_nusd},
        currencies={name: _scope(session, policy, at, given, name) for name in policy.currency_limits_nusd},
        closed_by=_closed_by(session, at),
        providers={name: _sight(session, name, at) for name in set(policy.provider_of.values())},
    )
    return with_day_unseen(policy, facts)


def _sight(session: Session, provider: str, at: datetime) -> Sight:
    of_it = select(ProviderTick.at).where(ProviderTick.provider == provider, col(ProviderTick.complete))
    newest = session.exec(of_it.where(ProviderTick.at <= at).order_by(col(ProviderTick.at).desc()).limit(2)).all()
    return Sight(newest[0] if newest else None, newest[1] if len(newest) > 1 else None, 0)


def _scope(
    session: Session, policy: GatePolicy, at: datetime, given: tuple[AllowanceView, ...], scope: str
) -> ScopeFacts:
    spent = debits_since(session, day_start(at, policy.zone), [at], scope, policy.currency_limits_nusd)[0]
    allowed = sum(one.amount_nusd for one in given if one.scope == scope)
    return ScopeFacts(spent, NOT_RECORDED, allowed)


def _closed_by(session: Session, at: datetime) -> str | None:
    query = select(GateClosure).where(GateClosure.at <= at).order_by(col(GateClosure.id).desc()).limit(1)
    closure = session.exec(query).first()
    if closure is None or (closure.opened_at is not None and closure.opened_at <= at):
        return None
    return f"{closure.actor} ({closure.reason})"


def _named(facts: GateFacts, reasons: tuple[Reason, ...]) -> GateFacts:
    return replace(facts, frozen=(_WHICH,)) if Reason.FROZEN in reasons else facts
