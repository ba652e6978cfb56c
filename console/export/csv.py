"""Figures as CSV (RFC 4180): a header, then one row a tier and window; UTC instants, exact amounts."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from fractions import Fraction
from itertools import chain
from pathlib import Path

from console.export.files import write_export
from store.clock import rfc3339
from store.figures import Figures
from store.fleet_view import Fleet, TierSpec
from store.money import format_nusd
from store.printable import printable
from store.unknown import Unknown

Value = str | int | Unknown
"""What a row holds: text, a count or a yes or no, or what is not known."""
_FORMULAS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
COLUMNS = (
    "as_of",
    "tier",
    "provider",
    "simulated",
    "engine",
    "market",
    "state",
    "window",
    "start",
    "end",
    "since",
    "currency",
    "spend",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "requests",
    "per_mtok_output",
    "per_mtok_total",
    "utilisation",
    "load",
    "unknown",
)


def write_table(path: Path, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table to a new file, whole or not at all, readable by its owner alone.

    Raises:
        ExportFailed: no such directory, no rights, no space.
    """
    write_export(path, csv_lines(chain([headings], ([defused(cell) for cell in row] for row in rows))))


def csv_lines(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Each row as RFC 4180 has it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    for row in rows:
        writer.writerow(row)
        yield out.getvalue()
        out.seek(0)
        out.truncate()


def fleet_rows(fleet: Fleet, tiers: Iterable[str]) -> list[list[str]]:
    """Rows of `COLUMNS`: each of these tiers, in this order, in every window."""
    shown = [tier for name in tiers if (tier := fleet.tier(name)) is not None]
    return [
        _cells(tier.spec, tier.engine, tier.state, name, figures, fleet.at)
        for tier in shown
        for name, figures in tier.figures.items()
    ]


def defused(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula, and no terminal for a command: names come from providers.

    Source: OWASP, "CSV Injection": `=`, `+`, `-`, `@`, tab, CR and LF, and their full-width forms.
    """
    shown = printable(cell)
    first = (cell.lstrip() or shown)[:1]
    looks_like_formula = first in _FORMULAS or cell[:1] in ("\t", "\r", "\n")
    if first == "-" and _is_number(cell):
        return shown
    return f"'{shown}" if looks_like_formula else shown


def _is_number(cell: str) -> bool:
    return cell.removeprefix("-").replace(".", "", 1).isdigit()


def figure_cells(spec: TierSpec, engine: str, state: str, name: str, figures: Figures, at: datetime) -> list[str]:
    """One row, in the order of `COLUMNS`; a step of the past has no `engine` and no `state`."""
    return [defused(cell) for cell in _cells(spec, engine, state, name, figures, at)]


def figure_values(
    spec: TierSpec, engine: str, state: str, name: str, figures: Figures, at: datetime
) -> dict[str, Value]:
    """The same row by column, each value as what it is: amounts and instants are text, counts are integers."""
    edges, spend, usage = figures.edges, figures.spend, figures.usage
    known = [spend, usage, figures.output_nusd_per_mtok, figures.total_nusd_per_mtok]
    reasons = dict.fromkeys(value.reason for value in known if isinstance(value, Unknown))
    values: tuple[Value, ...] = (
        rfc3339(at),
        spec.name,
        spec.provider,
        spec.is_simulated,
        engine,
        spec.market,
        state,
        name,
        edges if isinstance(edges, Unknown) else rfc3339(edges.start_at),
        edges if isinstance(edges, Unknown) else rfc3339(edges.end_at),
        edges if isinstance(edges, Unknown) else edges.since,
        spend if isinstance(spend, Unknown) else spend.currency,
        spend if isinstance(spend, Unknown) else format_nusd(spend.nusd),
        usage if isinstance(usage, Unknown) else usage.prompt_tokens,
        usage if isinstance(usage, Unknown) else usage.cached_tokens,
        usage if isinstance(usage, Unknown) else usage.completion_tokens,
        usage if isinstance(usage, Unknown) else usage.requests,
        _amount(figures.output_nusd_per_mtok),
        _amount(figures.total_nusd_per_mtok),
        _ratio(figures.utilisation),
        _ratio(figures.load),
        "; ".join(reasons),
    )
    return dict(zip(COLUMNS, values, strict=True))


def _cells(spec: TierSpec, engine: str, state: str, name: str, figures: Figures, at: datetime) -> list[str]:
    return [_cell(value) for value in figure_values(spec, engine, state, name, figures, at).values()]


def _cell(value: Value) -> str:
    if isinstance(value, Unknown):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _amount(value: int | Unknown) -> str | Unknown:
    return value if isinstance(value, Unknown) else format_nusd(value)


def _ratio(value: Fraction | Unknown) -> str | Unknown:
    return value if isinstance(value, Unknown) else f"{float(value):.4f}"
