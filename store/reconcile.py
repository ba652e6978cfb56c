"""Our figures against a bill: per resource, what we counted, what they say, what explains the difference.

    theirs = ours + edges + remaining

`edges` is the money between our samples and the edges of the window, by the provider's own windowed bill: samples
do not fall on midnight. `remaining` is what nothing explains; it must be zero, but for one nano-dollar of rounding.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlmodel import Session, col, select

from store.check import Finding, altered_bills
from store.counters import bill_after, bill_at, last_bill
from store.tables import BillCounter, BillSample

Resource = tuple[str, str]
"""A resource's kind and the provider's id for it."""

Key = tuple[str, str, str]
"""A resource and the currency that it is billed in: currencies are never summed."""

TOLERANCE_NUSD = 1


@dataclass(frozen=True, slots=True)
class Counted:
    """One counter between two instants: its samples there, and the difference of their totals.

    `is_over`: all of it that there will be, since it ended inside the window: `last` is its last sample of all.
    """

    counter: BillCounter
    first: BillSample | None
    last: BillSample
    nusd: int
    is_over: bool = False

    @property
    def key(self) -> Key:
        """Whose bill it is, and in which currency."""
        return (self.counter.kind, self.counter.resource_id, self.counter.currency)


@dataclass(frozen=True, slots=True)
class Line:
    """One resource, in nano-units of `currency`: both sides, and the edges between them.

    None for what a side does not know.
    """

    resource: Resource
    currency: str
    name: str
    tier: str
    ours_nusd: int | None
    theirs_nusd: int | None
    edges_nusd: int

    @property
    def key(self) -> Key:
        """The resource and the currency."""
        return (*self.resource, self.currency)

    @property
    def remaining_nusd(self) -> int:
        """What nothing explains."""
        return (self.theirs_nusd or 0) - (self.ours_nusd or 0) - self.edges_nusd

    @property
    def holds(self) -> bool:
        """Whether both sides say the same, to one nano-dollar."""
        return abs(self.remaining_nusd) <= TOLERANCE_NUSD

    @property
    def explanation(self) -> str:
        """What is known of the difference, in one line."""
        if self.ours_nusd is None:
            return "a resource that we have never read a bill of"
        if self.theirs_nusd is None and not self.holds:
            return "a resource that their bill does not name"
        if self.holds:
            return "rounding" if self.remaining_nusd else "edges" if self.edges_nusd else ""
        return "not explained: late billing, or a sample that is wrong"


def counted(session: Session, provider: str, start: datetime, end: datetime) -> Iterator[Counted]:
    """Every counter of a provider that was read by `end` and had not ended by `start`, and what it rose by.

    A counter ends where the next one of its resource begins: whatever is read of it later belongs before that.
    """
    query = select(BillCounter).where(BillCounter.provider == provider).order_by(col(BillCounter.id))
    counters = session.exec(query).all()
    followed = _followed(counters)
    for counter in counters:
        assert counter.id is not None
        ends_at = followed.get(counter.id)
        if any(at is not None and at <= start for at in (ends_at, counter.final_at)):
            continue
        newest, is_over = last_bill(session, counter.id), ends_at is not None and ends_at <= end
        last, first = newest if is_over else bill_at(session, counter.id, end), bill_at(session, counter.id, start)
        if last is None:
            continue
        if first is None and counter.opening_nusd:
            first = bill_after(session, counter.id, start)
        is_over = is_over or (counter.final_at is not None and last is newest)
        nusd = last.total_nusd - (first.total_nusd if first else 0)
        if (
            nusd or counter.moved_at is None or counter.moved_at > start
        ):  # at rest since before, it has no part here
            yield Counted(counter, first, last, nusd, is_over)


def _followed(counters: Sequence[BillCounter]) -> dict[int, datetime]:
    """By counter, when the next one of its resource began: an hour's bucket, or a resource created anew."""
    by_resource: dict[Resource, list[tuple[datetime, int]]] = {}
    for one in counters:
        if one.started_at is not None and one.id is not None:
            by_resource.setdefault((one.kind, one.resource_id), []).append((one.started_at, one.id))
    found = {}
    for starts in by_resource.values():
        starts.sort()
        instants = [at for at, _ in starts]
        for at, id_ in starts:
            after = bisect_right(instants, at)
            if after < len(instants):
                found[id_] = instants[after]
    return found


def edges_to_ask(parts: Iterable[Counted], start: datetime, end: datetime) -> set[tuple[datetime, datetime]]:
    """The windows whose bill the provider must state, so that samples and edges can be compared."""
    asked: set[tuple[datetime, datetime]] = set()
    for part in parts:
        asked.update(window for _, window in _edges(part, start, end))
    return asked


def our_lines(
    parts: Iterable[Counted],
    edges: Mapping[tuple[datetime, datetime], Mapping[Key, int]],
    start: datetime,
    end: datetime,
) -> Iterator[Line]:
    """What one provider's counters say, for `reconcile`. A resource created anew has several and one bill."""
    by_key: dict[Key, list[Counted]] = {}
    for part in parts:
        by_key.setdefault(part.key, []).append(part)
    for key, ours in by_key.items():
        *resource, currency = key
        yield Line(
            (resource[0], resource[1]),
            currency,
            ours[-1].counter.name,
            ", ".join(dict.fromkeys(part.counter.tier for part in ours)),
            sum(part.nusd for part in ours),
            None,
            _edge_nusd(key, ours, edges, start, end),
        )


def reconcile(ours: Iterable[Line], theirs: Mapping[Key, int]) -> list[Line]:
    """Every resource that either side names, once a currency, with both sides. `ours`: of one or more providers."""
    found: dict[Key, Line] = {}
    for line in ours:
        before = found.get(line.key)
        found[line.key] = line if before is None else _together(before, line)
    for key in theirs:
        kind, id_, currency = key
        found.setdefault(key, Line((kind, id_), currency, "", "", None, None, 0))
    lines = [replace(found[key], theirs_nusd=theirs.get(key)) for key in sorted(found)]
    return [line for line in lines if line.ours_nusd or line.theirs_nusd or line.edges_nusd]


def _together(one: Line, other: Line) -> Line:
    """Two providers that call resources alike: an invoice does not say whose a line is."""
    return replace(
        one,
        name=f"{one.name}, {other.name}",
        tier=f"{one.tier}, {other.tier}",
        ours_nusd=(one.ours_nusd or 0) + (other.ours_nusd or 0),
        edges_nusd=one.edges_nusd + other.edges_nusd,
    )


def altered(session: Session, parts: Iterable[Counted], start: datetime, end: datetime) -> Iterator[Finding]:
    """Samples in the window, and at its edges, whose amount is not what the provider's own text says."""
    for part in parts:
        since = min(start, part.first.at) if part.first else start
        yield from altered_bills(session, part.counter, since, end)


def _edge_nusd(
    key: Key,
    ours: list[Counted],
    edges: Mapping[tuple[datetime, datetime], Mapping[Key, int]],
    start: datetime,
    end: datetime,
) -> int:
    """The edges of a resource's bill: of its oldest counter at the start, of its newest at the end."""
    windows = dict.fromkeys(
        (sign, window) for part in _outermost(ours) for sign, window in _edges(part, start, end)
    )
    return sum(sign * edges.get(window, {}).get(key, 0) for sign, window in windows)


def _outermost(ours: list[Counted]) -> list[Counted]:
    """Counters of one resource follow one another: only the first starts, and only the last ends, at an edge."""
    if not ours:
        return []
    oldest, newest = ours[0], ours[-1]
    if oldest is newest:
        return [oldest]
    return [Counted(oldest.counter, oldest.first, newest.last, 0, newest.is_over)]


def _edges(part: Counted, start: datetime, end: datetime) -> Iterator[tuple[int, tuple[datetime, datetime]]]:
    if part.first is not None and part.first.as_of_at < start:
        yield -1, (part.first.as_of_at, start)
    if part.first is not None and part.first.as_of_at > start:
        yield 1, (start, part.first.as_of_at)
    if part.is_over:
        return
    if part.last.as_of_at < end:
        yield 1, (part.last.as_of_at, end)
    if part.last.as_of_at > end:
        yield -1, (end, part.last.as_of_at)
