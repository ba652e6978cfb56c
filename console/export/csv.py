"""Figures as CSV (RFC 4180): a header, then one row a tier and window; UTC instants, exact amounts."""

import csv
import io
import os
from pathlib import Path

from store.clock import rfc3339
from store.errors import MtokError
from store.figures import Figures
from store.fleet import Fleet, TierView
from store.money import format_nusd
from store.unknown import Unknown

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
    "unknown",
)


class ExportFailed(MtokError):
    """A file could not be written; nothing was left behind."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"export to {path}: {reason}; choose another place with -o")
        self.path, self.reason = path, reason


def csv_text(fleet: Fleet) -> str:
    """The fleet's figures as CSV text with CRLF line ends."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for tier in fleet.tiers:
        for name, figures in tier.figures.items():
            writer.writerow([defused(cell) for cell in _row(fleet, tier, name, figures)])
    return out.getvalue()


def write_csv(fleet: Fleet, directory: Path) -> Path:
    """Write the figures to a new file in `directory`, whole or not at all, readable by its owner alone.

    Raises:
        ExportFailed: no such directory, no rights, no space.
    """
    path = directory / f"mtok-{fleet.at:%Y%m%dT%H%M%SZ}.csv"
    write_text(path, csv_text(fleet))
    return path


def write_text(path: Path, text: str) -> None:
    """Put `text` at `path` in one step, with mode 0600.

    Raises:
        ExportFailed: it could not be written; what was there before is still there.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.touch(mode=0o600)
        draft.write_bytes(text.encode())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ExportFailed(path, error.strerror or str(error)) from None


def defused(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: names come from providers."""
    looks_like_formula = cell[:1] in ("=", "+", "@", "\t", "\r") or (cell[:1] == "-" and not _is_number(cell))
    return f"'{cell}" if looks_like_formula else cell


def _is_number(cell: str) -> bool:
    return cell.removeprefix("-").replace(".", "", 1).isdigit()


def _row(fleet: Fleet, tier: TierView, name: str, figures: Figures) -> list[str]:
    edges, spend, usage = figures.edges, figures.spend, figures.usage
    known = [spend, usage, figures.output_nusd_per_mtok, figures.total_nusd_per_mtok]
    reasons = dict.fromkeys(value.reason for value in known if isinstance(value, Unknown))
    return [
        rfc3339(fleet.at),
        tier.spec.name,
        tier.spec.provider,
        str(tier.spec.is_simulated).lower(),
        tier.engine,
        tier.spec.market,
        tier.state,
        name,
        "" if isinstance(edges, Unknown) else rfc3339(edges.start_at),
        "" if isinstance(edges, Unknown) else rfc3339(edges.end_at),
        "" if isinstance(edges, Unknown) else str(edges.since).lower(),
        "" if isinstance(spend, Unknown) else spend.currency,
        "" if isinstance(spend, Unknown) else format_nusd(spend.nusd),
        "" if isinstance(usage, Unknown) else str(usage.prompt_tokens),
        "" if isinstance(usage, Unknown) else str(usage.cached_tokens),
        "" if isinstance(usage, Unknown) else str(usage.completion_tokens),
        "" if isinstance(usage, Unknown) else str(usage.requests),
        _amount(figures.output_nusd_per_mtok),
        _amount(figures.total_nusd_per_mtok),
        _ratio(figures),
        "; ".join(reasons),
    ]


def _amount(value: int | Unknown) -> str:
    return "" if isinstance(value, Unknown) else format_nusd(value)


def _ratio(figures: Figures) -> str:
    utilisation = figures.utilisation
    return "" if isinstance(utilisation, Unknown) else f"{float(utilisation):.4f}"
