"""`mtok export csv|json|focus`: figures step by step, streamed."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

from console.export.charges import charges
from console.export.csv import COLUMNS, Value, csv_lines, figure_cells, figure_values
from console.export.files import write_export
from console.export.focus import VERSIONS, billing_periods, focus_lines
from console.export.series import STEPS, Step, steps
from console.export.status import unknown
from console.settings import Settings
from store.database import Database
from store.errors import SettingsError
from store.fleet import extra_tiers
from store.fleet_view import TierSpec
from store.printable import json_text
from store.unknown import Unknown
from store.window import Window


def export_series(
    database: Database,
    settings: Settings,
    window: Window,
    *,
    kind: str,
    every: str,
    focus: str,
    now: datetime,
    path: Path | None,
) -> dict[str, str]:
    """Write every tier's steps in `window` as `kind`: csv, json or focus. Answers what is not in it, and why.

    Raises:
        SettingsError: no such step or version.
        ExportFailed: the file could not be written.
    """
    if every not in STEPS:
        raise SettingsError(f"--every {every}", "there is no such step", f"choose one of: {', '.join(STEPS)}")
    if focus not in VERSIONS:
        raise SettingsError(f"--focus {focus}", "there is no such version", f"choose one of: {', '.join(VERSIONS)}")
    kinds = {name: section.kind for name, section in settings.providers.items()}
    left_out: dict[str, str] = {}
    parts = list(billing_periods(window)) if kind == "focus" else [window]
    with database.read() as session:
        specs = [*settings.tier_specs, *extra_tiers(session)]
        found = (
            (spec, step)
            for spec in specs
            for part in parts
            for step in steps(session, spec.name, part, STEPS[every], settings.budget.timezone)
        )
        if kind == "focus":
            every_charge = (one for _, step in found for one in charges(session, step, kinds, left_out))
            write_export(path, csv_lines(focus_lines(every_charge, focus)))
        elif kind == "csv":
            write_export(path, csv_lines(chain([COLUMNS], _cells(found, every, now))))
        else:
            rows = (figure_values(spec, "", "", every, step.figures, now) for spec, step in found)
            write_export(path, _json(rows))
    return left_out


def _cells(found: Iterable[tuple[TierSpec, Step]], every: str, now: datetime) -> Iterator[list[str]]:
    for spec, step in found:
        yield figure_cells(spec, "", "", every, step.figures, now)


def _json(rows: Iterable[Mapping[str, Value]]) -> Iterator[str]:
    """An array of objects, one a line; what a step of the past does not have is null."""
    opening = "[\n"
    for row in rows:
        yield opening + json_text({name: _typed(value) for name, value in row.items()})
        opening = ",\n"
    yield "\n]\n" if opening == ",\n" else "[]\n"


def _typed(value: Value) -> Any:
    if isinstance(value, Unknown):
        return unknown(value)
    return None if value == "" else value
