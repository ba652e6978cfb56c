"""All about one tier, as lines: what stands under the fleet's table."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from console.tui.cells import Role, Row, line
from console.tui.render.figures import UNKNOWN, count, money, per_mtok, percent, short, sparkline
from console.tui.render.flow import sentences
from console.tui.render.states import state_text
from store.figures import Figures
from store.fleet_view import OperationView, TierView
from store.gate import Verdict
from store.keys import KeyUsage
from store.unknown import Unknown
from store.window import WINDOWS, Edges

_HEADING = f" {'WINDOW':<6}{'SPEND':>10}{'IN':>7}{'OUT':>7}{'$/Mtok OUT':>11}{'$/Mtok ALL':>11}{'UTIL':>6}  FROM"


def detail_rows(
    tier: TierView,
    now: datetime,
    closed: str | None = None,
    windows: Sequence[str] = WINDOWS,
    width: int = 79,
    *,
    patience: timedelta,
) -> list[Row]:
    """What matters of the tier under the cursor, in these windows; the reason of each figure that is not known.

    `closed`: why it may not serve, of `why_closed_alone`; `patience`: see `figures_table`.
    """
    spec = tier.spec
    rows = [line(f" {spec.name}  {spec.gpu}, {spec.market}, {state_text(tier.state)}", Role.STRONG)]
    if tier.operation is not None:
        rows += operation_rows(tier.operation, now)
    if closed is not None:
        rows += sentences([f"GATE CLOSED for {closed}"], width, Role.BAD, "!")
    heading, *figures = figures_table(tier, windows, now, patience)
    rows += [line(heading, Role.HEADING), *map(line, figures)]
    # the reasons first: a small terminal cuts what is below
    rows += sentences(unknown_reasons(tier), width, Role.WARN, UNKNOWN)
    rows.append(line(f" trend {sparkline(tier.trend)}  in flight {_in_flight(tier)}"))
    rows.append(line(f" {tier.engine}" if tier.engine else " engine not known yet", Role.MUTED))
    rows += [line(key_line(label, used), Role.MUTED) for label, used in tier.keys.items()]
    return rows


def why_closed_alone(verdict: Verdict, tier: str) -> str | None:
    """Why the tier may not serve though others may; None where nothing stands against it alone."""
    has_own = tier in verdict.tiers and bool(verdict.tiers[tier].reasons)
    is_alone = has_own or (verdict.is_open and bool(verdict.reasons_for(tier)))
    return verdict.sentence_for(tier) if is_alone else None


def operation_rows(operation: OperationView, now: datetime) -> list[Row]:
    """An operation under way: its phase, its time, and when each phase so far was reached."""
    minutes, seconds = divmod(int((now - operation.requested_at).total_seconds()), 60)
    first = f" {operation.kind.upper()} {minutes}:{seconds:02}  {operation.phase}  {operation.detail}".rstrip()
    reached = [f"{one.phase} +{one.took.total_seconds():.1f} s" for one in operation.reached[1:]]
    return [line(first, Role.STRONG), *([line(f"   {' · '.join(reached)}")] if reached else [])]


def figures_table(tier: TierView, windows: Sequence[str], now: datetime, patience: timedelta) -> list[str]:
    """A heading, and a line of figures for each of `windows`.

    Figures that end more than `patience` before `now`, for want of a complete tick, name both of their edges.
    """
    found = [tier.figures[name].edges for name in windows]
    is_late = any(not isinstance(edges, Unknown) and edges.end_at < now - patience for edges in found)
    heading = f"{_HEADING}-TO" if is_late else _HEADING
    return [heading, *(figures_line(name, tier.figures[name], now, patience) for name in windows)]


def figures_line(name: str, figures: Figures, now: datetime, patience: timedelta) -> str:
    """A window's figures, as a line of `figures_table`."""
    spend = figures.spend
    cells = (
        f"{UNKNOWN if isinstance(spend, Unknown) else money(spend.nusd, spend.currency):>10}",
        f"{count(figures, 'prompt_tokens'):>7}",
        f"{count(figures, 'completion_tokens'):>7}",
        f"{per_mtok(figures.output_nusd_per_mtok, figures.currency):>11}",
        f"{per_mtok(figures.total_nusd_per_mtok, figures.currency):>11}",
        f"{percent(figures.utilisation):>6}",
    )
    return f" {name:<6}{''.join(cells)}  {_edges(figures.edges, now, patience)}"


def key_line(label: str, used: KeyUsage) -> str:
    """What a key has used since its ledger began."""
    tokens = f"{short(used.prompt_tokens)} in, {short(used.completion_tokens)} out"
    return f" key {label:<14} {used.requests} requests, {tokens}"


def _edges(edges: Edges | Unknown, now: datetime, patience: timedelta) -> str:
    """In at most 17 cells; a time without a date is today's."""
    if isinstance(edges, Unknown):
        return ""
    start, end, today = (at.astimezone(UTC) for at in (edges.start_at, edges.end_at, now))
    day = "" if start.date() == today.date() else "%m-%d "
    if edges.end_at >= now - patience:
        if edges.since:
            return f"since {start:{day.strip() or '%H:%M'}}"
        return f"{start:{day}{'%H:%M' if day else '%H:%M:%S'}}"
    if end.date() == today.date():
        return f"{start:{day}%H:%M}-{end:%H:%M}"
    return f"{start:{'%H:%M-' if start.date() == end.date() else '%m-%d…'}}{end:%m-%d %H:%M}"


def _in_flight(tier: TierView) -> str:
    return UNKNOWN if isinstance(tier.in_flight, Unknown) else str(tier.in_flight)


def unknown_reasons(tier: TierView) -> list[str]:
    """Why figures of this tier are not known, each reason once, the windows that it concerns with it."""
    windows: dict[str, list[str]] = {}
    for name, figures in tier.figures.items():
        for value in (figures.spend, figures.usage):
            if isinstance(value, Unknown) and name not in windows.setdefault(value.reason, []):
                windows[value.reason].append(name)
    reasons = [f"{', '.join(names)}: {reason}" for reason, names in windows.items()]
    return [*([tier.problem] if tier.problem else []), *reasons]
