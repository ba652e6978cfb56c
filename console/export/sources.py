"""Billing's health as a table: a row a source, and a row a gap of the last day."""

from collections.abc import Iterable, Iterator
from datetime import timedelta

from store.clock import rfc3339
from store.sources import SourceHealth
from store.unknown import Unknown

COLUMNS = (
    "kind",
    "name",
    "tier",
    "row",
    "last_complete_tick",
    "latency_median_ms",
    "latency_p95_ms",
    "complete_ticks",
    "incomplete_ticks",
    "step_s",
    "lag_s",
    "from",
    "until",
    "problem",
)


def source_rows(sources: Iterable[SourceHealth]) -> list[list[str]]:
    """Rows of `COLUMNS`; `row` is `source`, or `gap`. Instants are RFC 3339 in UTC; what is not known is empty."""
    return [row for source in sources for row in _rows(source)]


def _rows(source: SourceHealth) -> Iterator[list[str]]:
    name = [source.kind, source.name, source.tier]
    last = source.last_complete_at
    yield [
        *name,
        "source",
        "" if last is None else rfc3339(last),
        _known(source.latency_median_ms),
        _known(source.latency_p95_ms),
        str(source.complete),
        str(source.incomplete),
        _known(source.step),
        _known(source.lag),
        "",
        "",
        source.problem or "",
    ]
    for gap in source.gaps:
        until = "" if gap.until_at is None else rfc3339(gap.until_at)
        yield [*name, "gap", "", "", "", "", str(gap.ticks), "", "", rfc3339(gap.start_at), until, gap.problem]


def _known(value: int | timedelta | Unknown) -> str:
    if isinstance(value, Unknown):
        return ""
    return f"{value.total_seconds():g}" if isinstance(value, timedelta) else str(value)
