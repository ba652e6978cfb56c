"""Operations as tables, lines and JSON: past wakes with every phase, the one under way as it goes."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from rich.table import Table

from console.export.status import amount, instant, not_in_usd
from console.export.text import PlainTable
from store.anatomy import Anatomy, spread, whole
from store.clock import rfc3339
from store.fleet_view import Fleet
from store.money import display
from store.phases import PHASES, OperationKind, Phase, Reached
from store.unknown import Unknown

UNKNOWN = "—"


def tiers_body(fleet: Fleet) -> list[dict[str, Any]]:
    """Every tier's state and what may be asked of it."""
    return [
        {
            "tier": tier.spec.name,
            "state": tier.state,
            "seen": tier.seen,
            "operation": None
            if tier.operation is None
            else {"kind": tier.operation.kind, "phase": tier.operation.phase, "detail": tier.operation.detail},
            "refusals": dict(tier.refusals),
        }
        for tier in fleet.tiers
    ]


def operation_body(one: Anatomy) -> dict[str, Any]:
    """One operation as JSON has it. Seconds are rounded to milliseconds, amounts are decimal strings."""
    return {
        "id": one.id,
        "kind": str(one.kind),
        "tier": one.tier,
        "actor": one.actor,
        "reason": one.reason,
        "requested_at": rfc3339(one.requested_at),
        "finished_at": instant(one.finished_at),
        "phase": one.phase,
        "outcome": one.outcome,
        "detail": one.detail,
        "provider_calls": one.calls,
        "took_s": None if one.took is None else _seconds(one.took),
        "phases": [_phase_body(reached) for reached in one.reached],
        "currency": None if isinstance(one.cost, Unknown) else one.cost.currency,
        "cost": amount(one.cost if isinstance(one.cost, Unknown) else one.cost.nusd),
        "cost_usd": _usd(one),
    }


def history_body(found: Sequence[Anatomy]) -> list[dict[str, Any]]:
    """Past operations, newest first."""
    return [operation_body(one) for one in found]


def phase_lines(one: Anatomy) -> list[str]:
    """A line for each phase that was reached: when since the request, and how long it took."""
    return [
        f"{_short(reached.at - one.requested_at):>8}  {reached.phase}"
        f"{f'  (+{_short(reached.took)})' if reached.took else ''}{f'  {reached.detail}' if reached.detail else ''}"
        for reached in one.reached
    ]


def history_table(tier: str, kind: OperationKind, found: Sequence[Anatomy]) -> Table:
    """Past operations of a tier, a row each, newest first."""
    table = _table(f"{kind} of {tier}: the last {len(found)}")
    for heading in ("WHEN (UTC)", "BY", "OUTCOME"):
        table.add_column(heading, no_wrap=True)
    table.add_column("WHOLE", justify="right", no_wrap=True)
    table.add_column("COST", justify="right", no_wrap=True)
    table.add_column("DETAIL", overflow="fold")
    for one in found:
        detail = one.detail or (one.cost.reason if isinstance(one.cost, Unknown) and one.finished_at else "")
        outcome = one.outcome or f"({one.phase})"
        when = f"{one.requested_at:%m-%d %H:%M:%S}"
        table.add_row(when, one.actor, outcome, _took(one.took), _cost(one), detail)
    return table


def phases_table(
    kind: OperationKind, found: Sequence[Anatomy], budgets: tuple[timedelta, timedelta] | None
) -> Table:
    """Each phase's time in the newest one, and the median and the worst of those that were done."""
    table = _table("each phase, from the one before it")
    table.add_column("PHASE")
    for heading in ("LATEST", "MEDIAN", "WORST"):
        table.add_column(heading, justify="right", no_wrap=True)
    latest = {step.phase: step.took for step in found[0].reached} if found else {}
    done = spread(found)
    for phase in PHASES[kind]:
        if phase is not Phase.REQUESTED and _is_used(phase, found):
            median, worst = done.get(phase, (None, None))
            table.add_row(str(phase), _took(latest.get(phase)), _took(median), _took(worst))
    median, worst = whole(found) or (None, None)
    table.add_row("whole", _took(found[0].took if found else None), _took(median), _took(worst))
    if budgets is not None:
        table.add_row("budget", _short(budgets[0]), "given up", _short(budgets[1]))
    return table


def _table(title: str) -> Table:
    return PlainTable(title=title, box=None, pad_edge=False, title_justify="left", title_style="")


def _is_used(phase: Phase, found: Sequence[Anatomy]) -> bool:
    return any(reached.phase is phase for one in found for reached in one.reached)


def _cost(one: Anatomy) -> str:
    return UNKNOWN if isinstance(one.cost, Unknown) else display(one.cost.nusd, one.cost.currency, 4)


def _usd(one: Anatomy) -> str | dict[str, str]:
    if isinstance(one.cost, Unknown):
        return amount(one.cost)
    return not_in_usd(one.cost.currency) or amount(one.cost.nusd)


def _took(time: timedelta | None) -> str:
    return UNKNOWN if time is None else _short(time)


def _short(time: timedelta) -> str:
    """`4.2 s` below two minutes, `8:05` above."""
    seconds = time.total_seconds()
    return f"{seconds:.1f} s" if seconds < 120 else f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _phase_body(reached: Reached) -> dict[str, Any]:
    body = {"phase": str(reached.phase), "at": rfc3339(reached.at), "took_s": _seconds(reached.took)}
    return {**body, "detail": reached.detail} if reached.detail else body


def _seconds(time: timedelta) -> float:
    return round(time.total_seconds(), 3)
