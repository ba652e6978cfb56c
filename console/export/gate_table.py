"""The gate as one table: every input of the decision, the day's curve, the allowances and the past verdicts."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from store.budget_curve import BudgetCurve, VerdictChange
from store.clock import rfc3339
from store.gate import FLEET, Reason, ScopeVerdict, Verdict, provider_scope
from store.headroom import Term
from store.money import USD, format_nusd
from store.unknown import NOT_RECORDED, Unknown

COLUMNS = ("kind", "scope", "name", "value", "unknown", "from", "until", "actor", "note")
_ACCOUNT = "account"


def gate_rows(
    verdict: Verdict,
    overspend_nusd: Mapping[str, int | Unknown],
    curve: BudgetCurve,
    changes: Sequence[VerdictChange],
    *,
    is_replay: bool = False,
) -> list[list[str]]:
    """Rows of `COLUMNS`: amounts are decimal strings, instants RFC 3339 in UTC. `kind` says what a row is.

    The name of an amount ends in its currency. `overspend_nusd`: by currency, beyond its limit.
    `is_replay`: the verdict is of a past minute, of which hysteresis was not recorded.
    """
    return [
        *_inputs(verdict, overspend_nusd, is_replay=is_replay),
        *(_term(term) for term in verdict.facts.terms),
        *_curve(curve),
        *(
            _row(
                "allowance",
                one.scope,
                verdict.currency_of(one.scope).lower(),
                format_nusd(one.amount_nusd),
                since=one.at,
                actor=one.actor,
                note=one.reason,
            )
            for one in curve.allowances
        ),
        *(row for change in changes for row in _verdict(change)),
    ]


def _inputs(
    verdict: Verdict, overspend_nusd: Mapping[str, int | Unknown], *, is_replay: bool
) -> Iterator[list[str]]:
    facts = verdict.facts
    last = facts.last_complete_at
    yield _row("input", FLEET, "as_of", rfc3339(facts.now))
    yield _row("input", FLEET, "last_complete_tick", Unknown("never") if last is None else rfc3339(last))
    yield _row("input", FLEET, "complete_ticks_in_a_row", NOT_RECORDED if is_replay else str(facts.complete_in_row))
    yield _row("input", FLEET, "frozen", " ".join(facts.frozen))
    yield _row("input", FLEET, "closed_by", facts.closed_by or "")
    for currency, nusd in overspend_nusd.items():
        name, scope = f"overspend_bound_{currency.lower()}", FLEET if currency == USD else currency
        yield _row("input", scope, name, _exact(nusd), note="assumes a live leader")
    for provider, reasons in verdict.blind.items():
        yield _row("input", provider_scope(provider), "reasons", _all(reasons))
    for scope, one in {FLEET: verdict.fleet, **verdict.currencies, **verdict.tiers}.items():
        yield from _scope(scope, one, verdict.reasons if scope == FLEET else one.reasons)
        yield _row("input", scope, "ticks_below", NOT_RECORDED if is_replay else str(one.facts.ticks_below))


def _scope(name: str, scope: ScopeVerdict, reasons: Sequence[Reason]) -> Iterator[list[str]]:
    facts, currency = scope.facts, scope.currency.lower()
    amounts: Mapping[str, int | Unknown] = {
        "debits": facts.debits_nusd,
        "headroom": facts.headroom_nusd,
        "bound": facts.bound_nusd,
        "allowances": facts.allowances_nusd,
        "limit": scope.limit_nusd,
    }
    yield _row("input", name, "reasons", _all(reasons))
    yield from (_row("input", name, f"{what}_{currency}", _exact(nusd)) for what, nusd in amounts.items())


def _term(term: Term) -> list[str]:
    speed = _exact(term.speed_nusd_per_hour)
    told = speed if isinstance(speed, str) else "—"
    note = f"{term.course}, at most {told} {term.currency} an hour for {term.duration.total_seconds():.0f} s"
    return _row("headroom", term.tier, term.counter, _exact(term.nusd), note=note)


def _curve(curve: BudgetCurve) -> Iterator[list[str]]:
    for point in curve.points:
        limit = _exact(point.limit_nusd)
        note = f"limit {limit if isinstance(limit, str) else '—'}"
        yield _row(
            "spent",
            curve.scope,
            "debits_usd",
            _exact(point.debits_nusd),
            since=curve.start_at,
            until=point.at,
            note=note,
        )


def _verdict(change: VerdictChange) -> Iterator[list[str]]:
    scopes = {FLEET: change.reasons, **change.scope_reasons}
    for scope, reasons in scopes.items():
        note = f"limit {format_nusd(change.limit_nusd)}" if scope == FLEET else ""
        yield _row(
            "verdict", scope, "reasons", _all(reasons), since=change.since_at, until=change.until_at, note=note
        )


def _all(reasons: Sequence[Reason]) -> str:
    return " ".join(reasons) or "open"


def _exact(nusd: int | Unknown) -> str | Unknown:
    return nusd if isinstance(nusd, Unknown) else format_nusd(nusd)


def _row(
    kind: str,
    scope: str,
    name: str,
    value: str | Unknown,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    actor: str = "",
    note: str = "",
) -> list[str]:
    edges = ["" if at is None else rfc3339(at) for at in (since, until)]
    known, why = ("", value.reason) if isinstance(value, Unknown) else (value, "")
    return [kind, scope or _ACCOUNT, name, known, why, *edges, actor, note]
