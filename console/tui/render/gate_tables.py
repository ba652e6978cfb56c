"""What stands below the gate's inputs: limits of tiers, the terms of the headroom, allowances, past verdicts."""

from collections.abc import Mapping, Sequence

from console.tui.cells import Role, Row, line
from console.tui.render.figures import UNKNOWN
from console.tui.render.lists import clock_time, day_time, known_money, lasted, table_rows
from console.tui.table import Column, Entry
from store.budget_curve import AllowanceView, VerdictChange
from store.gate import Reason, ScopeVerdict, Verdict
from store.headroom import Term
from store.money import display, display_usd
from store.printable import printable
from store.unknown import Unknown

WHOLE_ACCOUNT = "account"
_NO_BOUND = 2**63  # more than any amount
_LIMITS = (
    Column("scope", "LIMIT OF", 10, is_number=False, stretches=True),
    Column("state", "GATE", 12, is_number=False),
    Column("spent", "SPENT", 11),
    Column("room", "NOT BILLED", 11, rank=1),
    Column("bound", "AT MOST", 11),
    Column("limit", "LIMIT", 11),
)
_TERMS = (
    Column("counter", "COUNTER", 18, is_number=False, stretches=True),
    Column("tier", "TIER", 10, is_number=False, rank=2),
    Column("course", "BILLS", 17, is_number=False, rank=1),
    Column("speed", "AT MOST /h", 12),
    Column("duration", "FOR", 8),
    Column("nusd", "AT MOST", 10),
)
_ALLOWANCES = (
    Column("at", "AT", 9, is_number=False),
    Column("scope", "LIMIT OF", 10, is_number=False, stretches=True),
    Column("actor", "WHO", 14, is_number=False, rank=1, stretches=True),
    Column("reason", "REASON", 12, is_number=False, stretches=True),
    Column("amount", "AMOUNT", 12),
)
_CHANGES = (
    Column("since", "FROM", 15, is_number=False),
    Column("until", "UNTIL", 15, is_number=False, rank=1),
    Column("verdict", "VERDICT", 24, is_number=False, stretches=True),
    Column("lasted", "LASTED", 8),
    Column("spent", "SPENT", 10, rank=2),
    Column("limit", "LIMIT", 10, rank=3),
)


def limit_rows(scopes: Mapping[str, ScopeVerdict], width: int) -> list[Row]:
    """Each currency and each tier that has a limit of its own."""
    entries = [
        Entry(
            name,
            {
                "scope": printable(name),
                "state": ", ".join(scope.reasons) or "open",
                "spent": known_money(scope.facts.debits_nusd, scope.currency),
                "room": known_money(scope.facts.headroom_nusd, scope.currency),
                "bound": known_money(scope.facts.bound_nusd, scope.currency),
                "limit": display(scope.limit_nusd, scope.currency),
            },
            role=Role.BAD if scope.reasons else Role.PLAIN,
        )
        for name, scope in scopes.items()
    ]
    return table_rows("LIMITS OF THEIR OWN", _LIMITS, entries, width) if entries else []


def term_rows(terms: Sequence[Term], headroom_nusd: int | Unknown, width: int) -> list[Row]:
    """What each counter accounts for of the headroom: those without a bound first, then the largest."""
    if not terms:
        why = f"{UNKNOWN} ({headroom_nusd.reason})" if isinstance(headroom_nusd, Unknown) else "nothing bills"
        return [line(f" HEADROOM: {why}", Role.MUTED)]
    ranked = sorted(terms, key=lambda term: -term.nusd if isinstance(term.nusd, int) else -_NO_BOUND)
    entries = [
        Entry(
            term.counter,
            {
                "counter": printable(term.counter),
                "tier": printable(term.tier),
                "course": str(term.course),
                "speed": known_money(term.speed_nusd_per_hour, term.currency),
                "duration": lasted(term.duration),
                "nusd": known_money(term.nusd, term.currency),
            },
        )
        for term in ranked
    ]
    return table_rows("HEADROOM: what may be billed already", _TERMS, entries, width)


def allowance_rows(allowances: Sequence[AllowanceView], verdict: Verdict, width: int) -> list[Row]:
    """What resets have added today."""
    entries = [
        Entry(
            str(n),
            {
                "at": clock_time(one.at),
                "amount": f"+{display(one.amount_nusd, verdict.currency_of(one.scope))}",
                "scope": printable(one.scope) or WHOLE_ACCOUNT,
                "actor": printable(one.actor),
                "reason": printable(one.reason),
            },
        )
        for n, one in enumerate(allowances)
    ]
    if not entries:
        return [line(" ALLOWANCES OF TODAY: none", Role.MUTED)]
    return table_rows("ALLOWANCES OF TODAY", _ALLOWANCES, entries, width)


def change_rows(changes: Sequence[VerdictChange], width: int) -> list[Row]:
    """The verdicts before, newest first."""
    entries = [
        Entry(
            str(one.id),
            {
                "since": day_time(one.since_at),
                "until": "now" if one.until_at is None else day_time(one.until_at),
                "lasted": "" if one.until_at is None else lasted(one.until_at - one.since_at),
                "spent": known_money(one.debits_nusd),
                "limit": display_usd(one.limit_nusd),
                "verdict": printable(verdict_text(one)),
            },
            role=Role.PLAIN if one.is_open and not one.scope_reasons else Role.WARN,
        )
        for one in changes
    ]
    if not entries:
        return [line(" VERDICTS: none has been recorded", Role.MUTED)]
    return table_rows("VERDICTS, newest first", _CHANGES, entries, width)


def verdict_text(change: VerdictChange) -> str:
    """`open`, or why it was not; tiers' own limits after the fleet's."""
    fleet = "open" if change.is_open else f"CLOSED {_all(change.reasons)}"
    return "; ".join(
        [fleet, *(f"{scope} {_all(reasons)}" for scope, reasons in change.scope_reasons.items() if reasons)]
    )


def _all(reasons: Sequence[Reason]) -> str:
    return ", ".join(reasons)
