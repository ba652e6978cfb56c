"""Snapping edges back to complete ticks, so that windows add up whatever was missed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import product
from typing import Any

from sqlalchemy import Select, String, Subquery, bindparam, func, select, text, true
from sqlalchemy.orm import aliased
from sqlmodel import Session, col
from sqlmodel.sql.sqltypes import UTCDateTime

from store.clock import rfc3339
from store.counters import batched, edges_table, instants
from store.tables import TierTick
from store.unknown import Unknown
from store.window import Edges, Window

_NOT_SINCE = "the collector has not ticked since"


@dataclass(frozen=True, slots=True)
class TierEdge:
    """A complete tick of a tier. `running_ms` is cumulative over its instances."""

    at: datetime
    running_ms: int


def ends_of(windows: Sequence[Window]) -> list[datetime]:
    """Where `windows` begin and end, each instant once."""
    return list(dict.fromkeys(end for window in windows for end in (window.start, window.end)))


def snap_known(
    session: Session,
    tiers: Sequence[str],
    windows: Sequence[Window],
    known: Mapping[str, Mapping[datetime, TierEdge]],
) -> dict[str, list[Edges | Unknown]]:
    """By tier, the edges of each of `windows`, for whose ends (`ends_of`) `complete_of` has been asked.

    They are the complete ticks at or before both ends; only a start before our first one moves forward.
    """
    new = [tier for tier in tiers if any(window.start not in known[tier] for window in windows)]
    firsts = _firsts(session, new)
    told = cache(lambda until: problems_of(session, tiers, until))  # when a fleet has stopped, all of it is asked
    return {
        tier: [_edges(tier, window, known[tier], firsts.get(tier), told) for window in windows] for tier in tiers
    }


def complete_at(session: Session, tier: str, asked: Sequence[datetime]) -> dict[datetime, TierEdge]:
    """By instant, the tier's last complete tick at or before it; instants before the first are left out."""
    return complete_of(session, [tier], asked)[tier]


def complete_of(
    session: Session, tiers: Sequence[str], asked: Sequence[datetime]
) -> dict[str, dict[datetime, TierEdge]]:
    """By tier and instant, the tier's last complete tick at or before it; a tier may have none."""
    found: dict[str, dict[datetime, TierEdge]] = {tier: {} for tier in tiers}
    for some, parts in product(batched(tiers), batched(asked)):
        values = {**_named(some), **instants(parts)}
        for tier, k, at, running_ms in session.connection().execute(_complete(len(some), len(parts)), values):
            found[tier][parts[k]] = TierEdge(at, running_ms)
    return found


def first_complete(session: Session, tier: str) -> TierEdge | None:
    """The tier's first complete tick."""
    return _firsts(session, [tier]).get(tier)


def _firsts(session: Session, tiers: Sequence[str]) -> dict[str, TierEdge]:
    found = {}
    for some in batched(tiers):
        for tier, at, running_ms in session.connection().execute(_first(len(some)), _named(some)):
            found[tier] = TierEdge(at, running_ms)
    return found


def never_complete(session: Session, tiers: Sequence[str], until: datetime) -> dict[str, Unknown]:
    """By tier, why there is no edge at `until`, for tiers that have no complete tick by then."""
    return {tier: _never(problem) for tier, problem in problems_of(session, tiers, until).items()}


def _never(problem: str | None) -> Unknown:
    return Unknown("no complete tick yet" if problem is None else f"no complete tick yet: {problem}")


def problems_of(session: Session, tiers: Sequence[str], until: datetime) -> dict[str, str | None]:
    """By tier, what keeps its newest tick up to an instant from being complete; None: there is no tick."""
    known = {tier: problem or _NOT_SINCE for tier, problem, _, _ in _newest_ticks(session, tiers, until)}
    return {tier: known.get(tier) for tier in tiers}


def newest_of(session: Session, tiers: Sequence[str], until: datetime) -> dict[str, TierEdge]:
    """By tier, its newest tick up to an instant, complete or not; a tier may have none."""
    return {tier: TierEdge(at, running_ms) for tier, _, at, running_ms in _newest_ticks(session, tiers, until)}


def _newest_ticks(session: Session, tiers: Sequence[str], until: datetime) -> Iterator[Any]:
    for some in batched(tiers):
        yield from session.connection().execute(_newest(len(some)), {**_named(some), "until": until})


def _edges(
    tier: str,
    window: Window,
    known: Mapping[datetime, TierEdge],
    first: TierEdge | None,
    problems: Callable[[datetime], Mapping[str, str | None]],
) -> Edges | Unknown:
    end, start = known.get(window.end), known.get(window.start)
    if end is None:
        return _never(problems(window.end)[tier])
    since = start is None
    start = start or first
    assert start is not None
    if end.at <= window.start or end.at == start.at:
        if since:
            return Unknown("waiting for a second complete tick")
        return Unknown(f"no complete tick since {rfc3339(end.at)}: {problems(window.end)[tier]}")
    return Edges(start.at, end.at, since, end.running_ms - start.running_ms)


def _named(tiers: Sequence[str]) -> dict[str, str]:
    return {f"tier{n}": tier for n, tier in enumerate(tiers)}


def _tiers_table(count: int) -> Subquery:
    """`count` tiers as rows, to join with; their names are the parameters `tier0`, `tier1`, …"""
    rows = text(" UNION ALL ".join(f"SELECT :tier{n} AS tier" for n in range(count)))  # as text: see `edges_table`
    typed = rows.bindparams(*(bindparam(f"tier{n}", type_=String) for n in range(count)))
    return typed.columns(tier=String).subquery("named")


@cache
def _complete(tiers: int, count: int) -> Select[Any]:
    named, asked, older = _tiers_table(tiers), edges_table(count), aliased(TierTick)
    newest = (
        select(func.max(older.at))
        .where(col(older.tier) == named.c.tier, col(older.complete), col(older.at) <= asked.c.at)
        .correlate(named, asked)
        .scalar_subquery()
    )
    return (
        select(named.c.tier, asked.c.k, col(TierTick.at), col(TierTick.running_ms))
        .select_from(named)
        .join(asked, true())
        .join(TierTick, (col(TierTick.tier) == named.c.tier) & (col(TierTick.at) == newest))
    )


@cache
def _first(tiers: int) -> Select[Any]:
    named, later = _tiers_table(tiers), aliased(TierTick)
    oldest = (
        select(func.min(later.at))
        .where(col(later.tier) == named.c.tier, col(later.complete))
        .correlate(named)
        .scalar_subquery()
    )
    is_it = (col(TierTick.tier) == named.c.tier) & (col(TierTick.at) == oldest)
    return select(named.c.tier, col(TierTick.at), col(TierTick.running_ms)).select_from(named).join(TierTick, is_it)


@cache
def _newest(tiers: int) -> Select[Any]:
    named, older = _tiers_table(tiers), aliased(TierTick)
    newest = (
        select(func.max(older.at))
        .where(col(older.tier) == named.c.tier, col(older.at) <= bindparam("until", type_=UTCDateTime))
        .correlate(named)
        .scalar_subquery()
    )
    is_it = (col(TierTick.tier) == named.c.tier) & (col(TierTick.at) == newest)
    columns = (named.c.tier, col(TierTick.problem), col(TierTick.at), col(TierTick.running_ms))
    return select(*columns).select_from(named).join(TierTick, is_it)
