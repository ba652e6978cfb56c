"""Billing's health: an entry a source, and all about the one under the cursor.

While all is well nothing here counts seconds: an age is shown only of what is stale.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from console.tui.cells import Role, Row, Span, line
from console.tui.render.canvas import clipped
from console.tui.render.figures import UNKNOWN, age
from console.tui.render.flow import sentences
from console.tui.render.lists import day_time, lasted, table_rows
from console.tui.table import Column, Entry
from store.fleet_view import Fleet
from store.printable import printable
from store.sources import SourceHealth, Stretch
from store.unknown import Unknown

_LATE_TICKS = 2  # one tick late is a slow answer; two are a source that does not answer
_BILLS = {
    "lifetime": "a total over each resource's whole life",
    "window": "a running total from a fixed start",
    "bucket": "a total of its own for each period",
}
COLUMNS = (
    Column("name", "SOURCE", 10, is_number=False, letter="n", stretches=True),
    Column("kind", "KIND", 9, is_number=False, letter="k", rank=8),
    Column("state", "STATE", 14, is_number=False, letter="s"),
    Column("complete", "LAST COMPLETE", 15, is_number=False, letter="c"),
    Column("latency", "MED/P95 ms", 12, letter="l", rank=4),
    Column("share", "24h", 6, letter="h", rank=1),
    Column("gaps", "GAPS", 5, letter="g", rank=3),
    Column("step", "STEP", 8, letter="p", rank=5),
    Column("lag", "LAG", 7, letter="a", rank=6),
    Column("problem", "  PROBLEM", 12, is_number=False, rank=7, stretches=True),
)
_GAPS = (
    Column("since", "FROM", 15, is_number=False),
    Column("until", "UNTIL", 15, is_number=False),
    Column("problem", "PROBLEM", 20, is_number=False, stretches=True),
    Column("ticks", "TICKS", 7),
    Column("lasted", "LASTED", 9),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """What is documented of a provider's bills: how they add up, how often they move, how far they trail."""

    kind: str
    bill: str
    step: timedelta | None = None
    lag: timedelta | None = None


@dataclass(frozen=True, slots=True)
class BillingAnswer:
    """What the store said of its sources. `every`: how often each is asked; `shapes` by provider."""

    sources: Sequence[SourceHealth]
    every: timedelta
    shapes: Mapping[str, Shape] = field(default_factory=dict)


def entries(answer: BillingAnswer, fleet: Fleet) -> list[Entry]:
    """A source a row, providers first."""
    return [_entry(source, *state(source, answer.every, fleet)) for source in answer.sources]


def key_of(source: SourceHealth) -> str:
    """A source's own key: a provider and an agent may have one name."""
    return f"{source.kind}:{source.name}"


def state(source: SourceHealth, every: timedelta, fleet: Fleet) -> tuple[str, Role]:
    """How a source does, in words with a sign before them, and how much it asks for attention."""
    tier = fleet.tier(source.tier) if source.tier else None
    if tier is not None and tier.state == "asleep":
        return "○ asleep", Role.MUTED
    if source.last_complete_at is None:
        return "— never yet", Role.BAD
    late = fleet.at - source.last_complete_at
    if late > _LATE_TICKS * every:
        return f"! STALE {age(late.total_seconds())}", Role.BAD
    return ("! problem", Role.WARN) if source.problem else ("● complete", Role.PLAIN)


def _entry(source: SourceHealth, stands: str, role: Role) -> Entry:
    asked = source.complete + source.incomplete
    return Entry(
        key_of(source),
        {
            "name": printable(source.name),
            "kind": source.kind,
            "state": stands,
            "complete": "never" if source.last_complete_at is None else day_time(source.last_complete_at),
            "latency": f"{_ms(source.latency_median_ms)}/{_ms(source.latency_p95_ms)}",
            "share": share(source),
            "gaps": str(len(source.gaps)),
            "step": _length(source.step),
            "lag": _length(source.lag),
            "problem": f"  {printable(source.problem or '')}",
        },
        order={
            "name": source.name,
            "kind": source.kind,
            "state": stands.split(" ")[1],
            "complete": source.last_complete_at,
            "latency": _known(source.latency_median_ms),
            "share": source.complete / asked if asked else None,
            "gaps": len(source.gaps),
            "step": _known(source.step),
            "lag": _known(source.lag),
        },
        words=f"{source.name} {source.kind} {source.tier} {stands} {source.problem or ''}",
        role=role,
    )


def share(source: SourceHealth) -> str:
    """Complete ticks of a day's, rounded down: 100 % is all of them."""
    asked = source.complete + source.incomplete
    if not asked:
        return UNKNOWN
    if not source.incomplete:
        return "100%"
    permille = source.complete * 1000 // asked
    return f"{permille // 10}.{permille % 10}%"


def detail_rows(source: SourceHealth, answer: BillingAnswer, fleet: Fleet, width: int) -> list[Row]:
    """The source under the cursor: what is wrong, how it answers, what its bill is like, and its gaps."""
    stands, role = state(source, answer.every, fleet)
    of = f" of tier {printable(source.tier)}" if source.tier else ""
    head = (
        Span(f" {printable(source.name)}", Role.STRONG),
        Span(f"  {stands}", role),
        Span(f"  {source.kind}{of}"),
    )
    rows = [clipped(head, width)]
    if source.problem:
        rows += sentences([source.problem], width, Role.MUTED if role is Role.MUTED else Role.BAD, "!")
    rows += sentences(_answers(source), width)
    shape = answer.shapes.get(source.name) if source.kind == "provider" else None
    if shape is not None:
        rows += sentences([_documented(shape)], width, Role.MUTED)
    if not source.complete + source.incomplete:  # no gap where nobody has looked would be good news
        return rows
    if _is_unasked(source, answer.every, fleet):
        assert source.last_complete_at is not None
        since = f"NOT ASKED since {day_time(source.last_complete_at)} UTC: what it has missed is noted nowhere"
        rows += [line(""), *sentences([since], width, Role.BAD, "!")]
        return [*rows, *gap_rows(source.gaps, width)] if source.gaps else rows
    return [*rows, line(""), *gap_rows(source.gaps, width)]


def _is_unasked(source: SourceHealth, every: timedelta, fleet: Fleet) -> bool:
    """Whether it is stale though nothing was missed: nobody looks."""
    if source.last_complete_at is None or state(source, every, fleet)[1] is not Role.BAD:
        return False
    return not any(gap.until_at is None for gap in source.gaps)


def gap_rows(gaps: Sequence[Stretch], width: int) -> list[Row]:
    """Each stretch of a day in which a source gave no usable reading, newest first."""
    if not gaps:
        return [line(" NO GAP in 24 h", Role.MUTED)]
    found = [
        Entry(
            str(n),
            {
                "since": day_time(gap.start_at),
                "until": "goes on" if gap.until_at is None else day_time(gap.until_at),
                "lasted": UNKNOWN if gap.until_at is None else lasted(gap.until_at - gap.start_at),
                "ticks": str(gap.ticks),
                "problem": printable(gap.problem),
            },
            role=Role.WARN if gap.until_at is None else Role.PLAIN,
        )
        for n, gap in enumerate(gaps)
    ]
    return table_rows("GAPS of 24 h, newest first", _GAPS, found, width)


def _answers(source: SourceHealth) -> list[str]:
    last, asked = source.last_complete_at, source.complete + source.incomplete
    shown = "never" if last is None else f"{day_time(last)} UTC"
    if not asked:
        none = "its tier slept at every tick in 24 h" if source.asleep else "no tick in 24 h"
        return [f"last complete {shown}; {none}"]
    texts = [f"last complete {shown}; {source.complete} of {asked} ticks in 24 h were ({share(source)})"]
    if source.asleep:
        texts.append(f"its tier slept at {source.asleep} more, and nobody expects an answer then")
    if source.kind != "provider":
        return texts
    middle, high = source.latency_median_ms, source.latency_p95_ms
    return [
        *texts,
        f"answers in {_or_why(middle)} (median) and {_or_why(high)} (95th percentile), last hour",
        f"observed: {_observed(source.step, source.lag)}",
    ]


def _observed(step: timedelta | Unknown, lag: timedelta | Unknown) -> str:
    if isinstance(step, Unknown) and step == lag:
        return f"how often its bills move, and how far they trail: {UNKNOWN} ({step.reason})"
    return f"its bills move every {_or_reason(step)}, and trail by {_or_reason(lag)}"


def _documented(shape: Shape) -> str:
    text = f"{shape.kind} documents: a bill is {_BILLS.get(shape.bill, shape.bill)}"
    if shape.step is not None:
        text += f"; it moves every {lasted(shape.step)}"
    return text if shape.lag is None else f"{text}; it trails by up to {lasted(shape.lag)}"


def _or_why(value: int | Unknown) -> str:
    return f"{UNKNOWN} ({value.reason})" if isinstance(value, Unknown) else f"{value} ms"


def _or_reason(value: timedelta | Unknown) -> str:
    return f"{UNKNOWN} ({value.reason})" if isinstance(value, Unknown) else lasted(value)


def _ms(value: int | Unknown) -> str:
    return UNKNOWN if isinstance(value, Unknown) else str(value)


def _length(value: timedelta | Unknown) -> str:
    return UNKNOWN if isinstance(value, Unknown) else lasted(value)


def _known(value: int | timedelta | Unknown) -> int | timedelta | None:
    return None if isinstance(value, Unknown) else value
