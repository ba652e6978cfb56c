"""Vast.ai's charges as counters: what each contract has been charged since an instant that never moves.

`GET /api/v0/charges/` states an amount per contract for a window, rounded to $0.001. Windows of a minute would add
up the rounding; one window that always begins at the same instant is a running total, whose rounding never adds up.
So a counter is a contract and that instant, `vast:charges:instance-12345678:gte=1514764800`, and keeps both for
life: a known counter is read from its own instant, whatever the settings have said since.

Nobody states whether a bound inside a day is honoured. What was billed by an instant is therefore known for a UTC
midnight, and for an instant at which we looked ourselves; otherwise only where the settings say that it is.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Literal

from console.providers.exchange import ReadFailed
from console.providers.protocol import Batch, Ref, WindowBilled
from console.providers.vast_http import VastHttp
from console.providers.vast_wire import Charge, charge_row, line_of
from console.providers.wire import Unreadable
from store.clock import Clock
from store.money import format_nusd

PATH = "/api/v0/charges/"
Windows = Literal["day", "second"]
_PER_PAGE = "500"  # the most that it gives
_AHEAD = timedelta(days=1)  # the upper bound lies after now, so that it cuts nothing off
_LOOKS_KEPT = 8
_NAMED = 3
_COUNTER = re.compile(r"vast:charges:([a-z]+-[0-9]+):gte=([0-9]{1,12})")
CURRENCY = "USD"


@dataclass(frozen=True, slots=True)
class Table:
    """Every contract's charge since one instant, each with the provider's clock; and why some may be missing."""

    charges: Mapping[str, tuple[Charge, datetime]]
    problems: tuple[str, ...]
    provider_now: datetime | None
    apart: timedelta | None

    @property
    def as_of(self) -> datetime | None:
        """The one instant of every amount; None where the pages were of several."""
        instants = {at for _, at in self.charges.values()}
        return instants.pop() if len(instants) == 1 else None


@dataclass(slots=True)
class Charges:
    """The charges of one account, counted from `since`; `windows`: which bounds the provider honours."""

    http: VastHttp
    clock: Clock
    since: datetime
    windows: Windows
    _looks: OrderedDict[datetime, Mapping[str, Charge]] = field(default_factory=OrderedDict)

    def starts_of(self, known: Collection[str]) -> dict[str, datetime]:
        """By contract, the instant from which its known counter counts."""
        named = (_COUNTER.fullmatch(counter) for counter in known)
        return {one[1]: datetime.fromtimestamp(int(one[2]), UTC) for one in named if one is not None}

    async def table(self, start: datetime, end: datetime | None = None) -> Table:
        """What every contract was charged in `[start, end)`; up to now without an end."""
        last = self.clock.now() + _AHEAD if end is None else end - timedelta(seconds=1)
        bounds = {"day": {"gte": int(start.timestamp()), "lte": int(last.timestamp())}}
        query = {
            "select_filters": json.dumps(bounds),
            "format": "table",
            "latest_first": "false",
            "limit": _PER_PAGE,
        }
        pages = await self.http.pages(PATH, query, "results")
        problems = [pages.problem] if pages.problem is not None else []
        found: dict[str, tuple[Charge, datetime]] = {}
        for row, at in pages.rows:
            try:
                charge = charge_row(row)
            except Unreadable as error:
                problems.append(f"{PATH}: {_label(row)}: {error}")
                continue
            if charge.source in found:
                problems.append(f"{PATH}: {charge.source} is listed twice")
            found.setdefault(charge.source, (charge, at))
        table = Table(found, tuple(problems), pages.provider_now, pages.apart)
        if end is None and start == self.since and not problems:
            self._remember(table)
        return table

    async def billed(self, start: datetime, end: datetime) -> Batch[WindowBilled]:
        """What every contract was billed in `[start, end)`: its charge by the end, less its charge by the start."""
        try:
            before, after = await self._by(start), await self._by(end)
        except ReadFailed as error:
            return Batch((), (f"{PATH}: {error}",), clock_apart=error.apart)
        lost = sorted(before.keys() - after.keys())
        problems = (f"{PATH}: {len(lost)} no longer listed: {', '.join(lost[:_NAMED])}",) if lost else ()
        return Batch(tuple(_billed(before, after.values(), start, end)), problems)

    async def _by(self, at: datetime) -> Mapping[str, Charge]:
        """Every contract's charge from the fixed start up to `at`.

        Raises:
            ReadFailed: it cannot be known, or could not be read whole.
        """
        if at in self._looks:
            return self._looks[at]
        if at < self.since:
            raise ReadFailed(f"charges are counted from {self.since:%Y-%m-%d} on")
        if at == self.since:
            return {}
        is_over = at <= self.clock.now()
        if is_over and self.windows == "day" and at.astimezone(UTC).time() != time(0):
            raise ReadFailed(
                f"it is not known whether a bound inside a day, {at:%FT%TZ}, is honoured; "
                'where that has been measured, set windows = "second"'
            )
        table = await self.table(self.since, at if is_over else None)
        if table.problems:
            raise ReadFailed("; ".join(table.problems[:_NAMED]), table.apart)
        return _alone(table)

    def _remember(self, table: Table) -> None:
        if table.as_of is not None:
            self._looks[table.as_of] = _alone(table)
            while len(self._looks) > _LOOKS_KEPT:
                self._looks.popitem(last=False)


def counter_of(source: str, since: datetime) -> str:
    """A contract's counter: its identity holds the instant from which it counts."""
    return f"vast:charges:{source}:gte={int(since.timestamp())}"


def _alone(table: Table) -> Mapping[str, Charge]:
    return {source: charge for source, (charge, _) in table.charges.items()}


def _billed(
    before: Mapping[str, Charge], after: Iterable[Charge], start: datetime, end: datetime
) -> Iterable[WindowBilled]:
    """A contract that was over before the window, and was charged nothing in it, is no line of it."""
    for charge in after:
        first = before[charge.source].nusd if charge.source in before else 0
        nusd = charge.nusd - first
        was_there = (charge.started_at is None or charge.started_at < end) and (
            charge.ended_at is None or charge.ended_at > start
        )
        if nusd or was_there:
            yield WindowBilled(Ref(charge.kind, charge.id), charge.name, format_nusd(nusd), nusd, CURRENCY)


def _label(row: object) -> str:
    source = row.get("source") if isinstance(row, dict) else None
    return line_of(source)[:40] if isinstance(source, str) and source.strip() else "a row"
