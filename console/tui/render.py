"""Values to cell texts. Which cells, and nothing else: no widget, no store, no clock.

Known, unknown and zero look different without colour: a number, `—`, and `$0.00` or `no tokens`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction

from store.figures import Figures
from store.fleet import WINDOWS, Fleet, OperationView, ProviderHealth, TierView
from store.gate import ScopeVerdict
from store.keys import KeyUsage
from store.money import USD, display
from store.unknown import Unknown
from store.window import Edges

UNKNOWN = "—"
_BARS = "▁▂▃▄▅▆▇█"
_STATES = {
    "serving": "● serving",
    "running": "◐ running",
    "waking": "▲ waking",
    "sleeping": "▼ sleeping",
    "asleep": "○ asleep",
    "starting": "▲ starting",
    "halted_billed": "! halted",  # billed in full
    "error": "! error",
    "gone": "× gone",
    "unknown": "— unknown",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the fleet's table. `width` holds its widest cell and one space between columns."""

    key: str
    heading: str
    width: int
    is_number: bool = True


NARROW = (
    Column("tier", "TIER", 9, is_number=False),
    Column("state", "STATE", 11, is_number=False),
    Column("market", "MARKET", 10, is_number=False),
    Column("rate", "$/h", 7),
    Column("today", "TODAY", 9),
    Column("in", "IN", 8),
    Column("out", "OUT", 8),
    Column("output", "$/Mtok OUT", 11),
    Column("util", "UTIL", 6),
)
WIDE = (
    *NARROW[:7],
    Column("output_5m", "$/Mtok 5m", 10),
    Column("output_1h", "$/Mtok 1h", 10),
    Column("output_24h", "$/Mtok 24h", 11),
    Column("util", "UTIL", 6),
    Column("trend", "$/Mtok OUT TREND", 17),
)


def tier_cells(tier: TierView, columns: Sequence[Column], window: str) -> list[str]:
    """A tier's row. `window` is the one that the table shows where a column names none."""
    figures = tier.figures[window]
    today = tier.figures["today"].spend
    texts = {
        "tier": tier.spec.name,
        "state": _STATES.get(tier.state, tier.state),
        "market": str(tier.spec.market),
        "rate": _rate(tier),
        "today": UNKNOWN if isinstance(today, Unknown) else money(today.nusd, today.currency),
        "in": count(figures, "prompt_tokens"),
        "out": count(figures, "completion_tokens"),
        "output": per_mtok(figures.output_nusd_per_mtok, figures.currency),
        "util": percent(figures.utilisation),
        "trend": sparkline(tier.trend),
    }
    for name in ("5m", "1h", "24h"):
        texts[f"output_{name}"] = per_mtok(tier.figures[name].output_nusd_per_mtok, tier.figures[name].currency)
    return [aligned(texts[column.key], column) for column in columns]


def aligned(text: str, column: Column) -> str:
    """A text in its column: numbers to the right, words to the left, one space kept free."""
    room = column.width - 1
    cut = text if len(text) <= room else f"{text[: room - 1]}…"
    return f" {cut:>{room}}" if column.is_number else f"{cut:<{room}} "


def money(nusd: int, currency: str = USD) -> str:
    """An amount in the digits that tell something: cents for dollars, more for cents."""
    return display(nusd, currency, 2 if abs(nusd) >= 10**10 else 4)


def _rate(tier: TierView) -> str:
    rate = tier.rate_nusd_per_hour
    return UNKNOWN if isinstance(rate, Unknown) else display(rate, tier.currency)


def per_mtok(value: int | Unknown, currency: str | None = USD) -> str:
    """$/Mtok; `no tokens` is not the same as not knowing."""
    if isinstance(value, Unknown):
        return value.reason if value.reason == "no tokens" else UNKNOWN
    return display(value, currency or USD, 2 if value >= 10**11 else 4)


def count(figures: Figures, field: str) -> str:
    """Tokens, short: 987, 12.3k, 4.56M."""
    if isinstance(figures.usage, Unknown):
        return UNKNOWN
    return short(int(getattr(figures.usage, field)))


def short(tokens: int) -> str:
    """A count of tokens: 987, 12.3k, 4.56M."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**4)):
        if tokens >= size:
            return f"{tokens / (10**3 if unit == 'k' else size):.4g}{unit}"
    return str(tokens)


def percent(value: Fraction | Unknown) -> str:
    """A share of wall time."""
    return UNKNOWN if isinstance(value, Unknown) else f"{float(value) * 100:.0f}%"


def sparkline(values: Sequence[int | Unknown]) -> str:
    """A bar a step, oldest first, scaled to the largest; a step without a figure is a dot."""
    known = [value for value in values if not isinstance(value, Unknown)]
    top = max(known, default=0)
    return "".join("·" if isinstance(value, Unknown) else _BARS[_height(value, top)] for value in values)


def _height(value: int, top: int) -> int:
    return min(max(value, 0) * len(_BARS) // (top + 1), len(_BARS) - 1) if top > 0 else 0


def age(seconds: float) -> str:
    """An age that a person reads at once: 4 s, 3 min, 2.5 h."""
    if seconds < 120:
        return f"{max(seconds, 0):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def header(fleet: Fleet | None, actor: str, width: int) -> str:
    """The first line: what this is, whether it is simulated, who looks, and when it was read."""
    simulated = fleet is not None and any(tier.spec.is_simulated for tier in fleet.tiers)
    left = " mtok" + ("  SIMULATED PROVIDER" if simulated else "")
    right = f"{actor}  {fleet.at.astimezone(UTC):%H:%M:%S} UTC " if fleet else f"{actor} "
    return left + right.rjust(max(width - len(left), 0))


def gate_line(fleet: Fleet, width: int) -> str:
    """The gate: open or closed, today's spend against the limit, and why it is closed."""
    verdict = fleet.verdict
    spent = verdict.facts.debits_today_nusd
    limit = display(verdict.limit_nusd, USD)
    if isinstance(spent, Unknown):
        budget = f"today {UNKNOWN} of {limit} ({spent.reason})"
    else:
        share = Fraction(spent, verdict.limit_nusd) if verdict.limit_nusd else Fraction(1)
        budget = f"today {money(spent)} of {limit} {bar(share, 12)} {float(share) * 100:.0f}%"
    budget += "".join(f"  {_budget(scope)}" for scope in verdict.currencies.values())
    if verdict.is_open:
        return f" GATE OPEN    {budget}"
    reasons = ", ".join(verdict.reasons).upper()
    first = f" GATE CLOSED  {reasons}  {budget}"
    since = f"since {fleet.closed_since:%H:%M:%S}: " if fleet.closed_since else ""
    return f"{first[:width]}\n   {since}{verdict.sentence}"


def _budget(scope: ScopeVerdict) -> str:
    """Today's money in a currency beside the dollars."""
    spent, limit = scope.facts.debits_nusd, display(scope.limit_nusd, scope.currency)
    return f"{UNKNOWN if isinstance(spent, Unknown) else money(spent, scope.currency)} of {limit}"


def bar(share: Fraction, width: int) -> str:
    """A share of 1 as a bar of text."""
    filled = min(max(round(share * width), 0), width)
    return f"[{'#' * filled}{'-' * (width - filled)}]"


def health_line(fleet: Fleet) -> str:
    """Billing's health, a provider at a time, and who leads."""
    providers = "; ".join(_health(health, fleet.at) for health in fleet.health)
    led = "collector leads" if fleet.led_by else "COLLECTOR DEAD: nobody reads the bills"
    return f" BILLING      {providers}; {led}"


def _health(health: ProviderHealth, now: datetime) -> str:
    if health.last_complete_at is None:
        return f"{health.provider}: never complete ({health.problem or 'no tick yet'})"
    since = age((now - health.last_complete_at).total_seconds())
    if health.problem:
        return f"{health.provider}: STALE, last complete tick {since} ago: {health.problem}"
    return f"{health.provider}: last complete tick {since} ago, {health.latency_ms} ms"


def detail_lines(tier: TierView, now: datetime, closed: str | None = None) -> list[str]:
    """Everything about the tier under the cursor; the reason of each figure that is not known.

    `closed`: why the tier's own limit keeps it from serving.
    """
    lines = [f" {tier.spec.name}  {tier.spec.gpu}, {tier.spec.market}, {_STATES.get(tier.state, tier.state)}"]
    if tier.operation is not None:
        lines += operation_lines(tier.operation, now)
    if closed is not None:
        lines.append(f" ! GATE CLOSED for {closed}")
    lines.append(
        f" {'WINDOW':<6}{'SPEND':>10}{'IN':>7}{'OUT':>7}{'$/Mtok OUT':>11}{'$/Mtok ALL':>11}{'UTIL':>6}  FROM"
    )
    lines += [_window_line(name, tier.figures[name]) for name in WINDOWS]
    lines += [f" — {reason}" for reason in unknown_reasons(tier)]  # first: a small terminal cuts what is below
    lines.append(f" trend {sparkline(tier.trend)}  in flight {_in_flight(tier)}")
    lines.append(f" {tier.engine}" if tier.engine else " engine not known yet")
    lines += [_key_line(label, used) for label, used in tier.keys.items()]
    return lines


def operation_lines(operation: OperationView, now: datetime) -> list[str]:
    """An operation under way: its phase, its time, and when each phase so far was reached."""
    minutes, seconds = divmod(int((now - operation.requested_at).total_seconds()), 60)
    first = f" {operation.kind.upper()} {minutes}:{seconds:02}  {operation.phase}  {operation.detail}".rstrip()
    reached = [f"{one.phase} +{one.took.total_seconds():.1f} s" for one in operation.reached[1:]]
    return [first, f"   {' · '.join(reached)}"] if reached else [first]


def _window_line(name: str, figures: Figures) -> str:
    spend = figures.spend
    cells = (
        f"{UNKNOWN if isinstance(spend, Unknown) else money(spend.nusd, spend.currency):>10}",
        f"{count(figures, 'prompt_tokens'):>7}",
        f"{count(figures, 'completion_tokens'):>7}",
        f"{per_mtok(figures.output_nusd_per_mtok, figures.currency):>11}",
        f"{per_mtok(figures.total_nusd_per_mtok, figures.currency):>11}",
        f"{percent(figures.utilisation):>6}",
    )
    return f" {name:<6}{''.join(cells)}  {_since(figures.edges)}"


def _key_line(label: str, used: KeyUsage) -> str:
    """What a key has used since its ledger began."""
    tokens = f"{short(used.prompt_tokens)} in, {short(used.completion_tokens)} out"
    return f" key {label:<14} {used.requests} requests, {tokens}"


def _since(edges: Edges | Unknown) -> str:
    if isinstance(edges, Unknown):
        return ""
    return f"since {edges.start_at:%H:%M}" if edges.since else f"{edges.start_at:%H:%M:%S}"


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
