"""A day's budget as it filled: the gate's debits over the day, its limit, its allowances, and its verdicts."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row
from sqlmodel import Session, col, func, select

from store.counters import batched, debits_at
from store.gate import FLEET, GatePolicy, Reason
from store.money import USD
from store.sights import last_complete, unseen_since
from store.spend import Debit, currencies_of, debits_of, unsettled, without_limit
from store.tables import Allowance, BillCounter, BillSample, ProviderTick, Tick, VerdictRow
from store.unknown import NOT_RECORDED, UNOBSERVED, Unknown
from store.verdicts import by_scope
from store.window import day_end, day_name, day_start


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Debits since the day's start at an instant, and the limit with the allowances given by then."""

    at: datetime
    debits_nusd: int | Unknown
    limit_nusd: int | Unknown


@dataclass(frozen=True, slots=True)
class AllowanceView:
    """Money that somebody added to the day's limit; `scope` as of `store.tables.Allowance`."""

    at: datetime
    amount_nusd: int
    actor: str
    reason: str
    scope: str


@dataclass(frozen=True, slots=True)
class BudgetCurve:
    """One civil day up to `at`. `limit_nusd` is without allowances; `allowances` are of every scope."""

    day: str
    start_at: datetime
    end_at: datetime
    at: datetime
    scope: str
    limit_nusd: int | Unknown
    allowances: tuple[AllowanceView, ...]
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True)
class VerdictChange:
    """A verdict from the instant at which it became another one; `until_at` is None for the one in force."""

    id: int
    since_at: datetime
    until_at: datetime | None
    is_open: bool
    reasons: tuple[Reason, ...]
    scope_reasons: Mapping[str, tuple[Reason, ...]]
    debits_nusd: int | Unknown
    limit_nusd: int


def budget_curve(
    session: Session,
    policy: GatePolicy,
    at: datetime,
    count: int,
    scope: str = FLEET,
    limit_nusd: int | Unknown | None = None,
) -> BudgetCurve:
    """The day of `at`, in steps of which `count` fill it whole; the last point is at `at` itself.

    `limit_nusd` without allowances; left out, it is that of `policy`.
    """
    start, end = day_start(at, policy.zone), day_end(at, policy.zone)
    if limit_nusd is None:
        limits = {**policy.tier_limits_nusd, **policy.currency_limits_nusd}
        own = limits.get(scope, Unknown(f"tier {scope} has no limit of its own"))
        limit_nusd = policy.limit_nusd if scope == FLEET else own
    given = allowances_at(session, policy, at)
    borders = [start + (end - start) * step / count for step in range(count)]
    instants = [*(border for border in borders if border < at), at]
    spent = debits_since(session, start, instants, scope, policy.currency_limits_nusd)
    unseen = _unseen(session, policy, start, instants)
    points = (
        CurvePoint(when, unseen.get(when, nusd), _raised(limit_nusd, given, scope, when))
        for when, nusd in zip(instants, spent, strict=True)
    )
    return BudgetCurve(day_name(at, policy.zone), start, end, at, scope, limit_nusd, given, tuple(points))


def verdict_changes(session: Session, policy: GatePolicy, at: datetime, count: int) -> tuple[VerdictChange, ...]:
    """The last `count` verdicts up to `at`, newest first."""
    query = select(VerdictRow).where(VerdictRow.at <= at).order_by(col(VerdictRow.id).desc())
    found: list[VerdictChange] = []
    for row in session.exec(query.limit(count)).all():
        assert row.id is not None
        scopes = by_scope(row)
        reasons = scopes.pop(FLEET, ())
        spent = UNOBSERVED if Reason.UNOBSERVED in reasons else _kept(session, policy, row)
        until = found[-1].since_at if found else None
        found.append(VerdictChange(row.id, row.at, until, row.is_open, reasons, scopes, spent, row.limit_nusd))
    return tuple(found)


def _kept(session: Session, policy: GatePolicy, row: VerdictRow) -> int | Unknown:
    """The debits of a verdict; a zero was kept, too, of days that had not been seen yet."""
    if row.debits_today_nusd is None:
        return NOT_RECORDED
    if row.debits_today_nusd:
        return row.debits_today_nusd
    unseen = unseen_since(last_complete(session, policy, row.at), day_start(row.at, policy.zone))
    return row.debits_today_nusd if unseen is None else unseen


def allowances_at(session: Session, policy: GatePolicy, at: datetime) -> tuple[AllowanceView, ...]:
    """What had been added by `at` to the limits of its day, oldest first."""
    query = select(Allowance).where(Allowance.day == day_name(at, policy.zone), Allowance.at <= at)
    rows = session.exec(query.order_by(col(Allowance.id))).all()
    return tuple(AllowanceView(row.at, row.amount_nusd, row.actor, row.reason, row.scope) for row in rows)


def limit_at(session: Session, policy: GatePolicy, at: datetime, scope: str = FLEET) -> int | Unknown:
    """The limit without allowances that the last verdict up to `at` was made with; a tier's own is not recorded."""
    query = select(VerdictRow).where(VerdictRow.at <= at).order_by(col(VerdictRow.id).desc()).limit(1)
    row = session.exec(query).first() if scope == FLEET else None
    return NOT_RECORDED if row is None else recorded_limit(session, policy, row)


def recorded_limit(session: Session, policy: GatePolicy, row: VerdictRow) -> int:
    """The account's daily limit without allowances, as it was when a verdict was kept."""
    given = allowances_at(session, policy, row.at)
    return row.limit_nusd - sum(one.amount_nusd for one in given if one.scope == FLEET)


def debits_since(
    session: Session,
    start: datetime,
    instants: Sequence[datetime],
    scope: str = FLEET,
    currencies: Collection[str] = (),
) -> list[int | Unknown]:
    """The debits of one scope between `start` and each of `instants`, by what was known at the last of them.

    The whole account is its dollars, not known where something was billed in a currency that is not among
    `currencies`; a scope among `currencies` is the account in that one; else a tier.
    """
    found: list[int | Unknown] = []
    for part in batched(instants):
        rows = [row for row in debits_at(session, [start, *part]) if row.first_seen_at <= instants[-1]]
        for k, at in enumerate(part, start=1):
            debits = [one for row in rows if (one := _debit(row, f"edge{k}", at)) is not None]
            why = without_limit(currencies_of(debits), currencies) if scope == FLEET else None
            spent = debits_of([one for one in debits if _is_in(one, scope, currencies)], None)
            found.append(spent if why is None else why)
    return found


def _unseen(
    session: Session, policy: GatePolicy, start: datetime, instants: Sequence[datetime]
) -> dict[datetime, Unknown]:
    """Those of `instants`, from the day's `start` on, at which nothing of the day was known, and why not.

    It is from the day's first complete tick on, or from what a provider told of before; at `start` it is nothing.
    """
    last, first = last_complete(session, policy, start), _first_complete(session, policy, start, instants[-1])
    why = UNOBSERVED if last is None else unseen_since(last, start)
    assert why is not None
    early = [at for at in instants if (first is None or at < first) and (at > start or last is None)]
    if not early or first is None:  # a day that is seen needs no look through the samples
        return dict.fromkeys(early, why)
    of_each = col(BillSample.counter_id).in_(select(BillCounter.id))  # so that the key finds their few hours
    derived = select(func.min(BillSample.at)).where(of_each, BillSample.origin == "derived")
    derived = derived.where(BillSample.at <= early[-1])
    told = session.exec(derived if last is None else derived.where(BillSample.at > start)).one()
    return {at: why for at in early if told is None or at < told}


def _first_complete(session: Session, policy: GatePolicy, after: datetime, until: datetime) -> datetime | None:
    """The first complete tick in between; where each provider has a sight of its own, that of the last of them."""
    providers = set(policy.provider_of.values())
    if not providers:
        of_all = select(func.min(Tick.at)).where(col(Tick.complete), Tick.at > after, Tick.at <= until)
        return session.exec(of_all).one()
    of_each = select(func.min(ProviderTick.at)).where(
        col(ProviderTick.complete),
        col(ProviderTick.provider).in_(providers),
        ProviderTick.at > after,
        ProviderTick.at <= until,
    )
    found = session.exec(of_each.group_by(col(ProviderTick.provider))).all()
    return max(found) if len(found) == len(providers) else None


def _debit(row: Row[Any], edge: str, at: datetime) -> Debit | None:
    until, since = getattr(row, edge), row.edge0 or 0
    if row.unsettled_at is not None and row.unsettled_at <= at:
        return Debit(row.tier, row.currency, unsettled(row.id, row.counter, row.unsettled_at))
    return None if until is None else Debit(row.tier, row.currency, until - since)


def _is_in(debit: Debit, scope: str, currencies: Collection[str]) -> bool:
    if scope == FLEET or scope in currencies:
        return debit.currency == (scope or USD)
    return debit.tier == scope


def _raised(limit_nusd: int | Unknown, given: Sequence[AllowanceView], scope: str, at: datetime) -> int | Unknown:
    if isinstance(limit_nusd, Unknown):
        return limit_nusd
    return limit_nusd + sum(one.amount_nusd for one in given if one.scope == scope and one.at <= at)
