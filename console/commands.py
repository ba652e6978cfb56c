"""What the commands do, once the command line has been understood."""

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from console.export.explain import explain_body
from console.export.export import export_series
from console.export.status import status_body
from console.export.text import explanation_text, status_text
from console.instants import instant_of
from console.opening import opened
from console.service import Service
from console.settings import Settings
from store.clock import Clock, SystemClock
from store.errors import ExitCode, SettingsError
from store.fleet_view import Fleet, TierSpec
from store.notify import Notifier
from store.printable import json_text, printable
from store.window import WINDOWS, Window, named_window
from store.words import IGNORED, UNASSIGNED, Market


def print_status(config: Path | None, *, as_json: bool) -> None:
    """Every tier and the gate now, on stdout."""
    with opened(config) as (settings, database):
        print_fleet(Service(database, settings, SystemClock()).fleet(), as_json=as_json)


def print_fleet(fleet: Fleet, *, as_json: bool) -> None:
    """What has been read, on stdout."""
    print(dumped(status_body(fleet)) if as_json else status_text(fleet))


def print_explanation(
    config: Path | None, tier: str, window: str | None, start: str | None, end: str | None, *, as_json: bool
) -> int:
    """The samples behind a figure, on stdout; exit code 5 when the spend is unknown."""
    with opened(config) as (settings, database):
        spec = _spec(settings, tier)
        wanted = window_of(settings, window, start, end, default="1h")
        with database.read() as session:
            body = explain_body(session, spec, wanted)
    print(dumped(body) if as_json else explanation_text(body))
    return int(ExitCode.UNKNOWN_FIGURE if "unknown" in body["spend"] else ExitCode.OK)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an export is to hold: `kind` csv, json or focus; a window by name or instants; a step."""

    kind: str
    window: str | None = None
    start: str | None = None
    end: str | None = None
    every: str = "1h"
    focus: str = "1.2"


def export(config: Path | None, output: Path | None, wanted: Wanted) -> int:
    """Every tier's figures step by step, to a file or to stdout; exit code 5 where something is left out."""
    with opened(config) as (settings, database):
        window = window_of(settings, wanted.window, wanted.start, wanted.end)
        left_out = export_series(
            database,
            settings,
            window,
            kind=wanted.kind,
            every=wanted.every,
            focus=wanted.focus,
            now=datetime.now(UTC),
            path=output,
        )
    if output is not None:
        print(f"wrote {output}", file=sys.stderr)
    for what, why in left_out.items():
        print(printable(f"left out: {what}: {why}"), file=sys.stderr)
    return int(ExitCode.UNKNOWN_FIGURE if left_out else ExitCode.OK)


def export_metrics(config: Path | None, output: Path | None, *, openmetrics: bool) -> None:
    """What `/metrics` says, to a file or to stdout."""
    from console.export.prometheus import export_prometheus

    with opened(config) as (settings, database):
        export_prometheus(database, settings, datetime.now(UTC), output, openmetrics=openmetrics)


def run_collector(config: Path | None, clock: Clock | None = None) -> None:
    """Collect until SIGTERM or SIGINT, by the machine's clock unless another is given."""
    from console.collector.announce import announced
    from console.collector.build import build_collector
    from console.collector.metrics_server import metrics_served
    from console.collector.schedule import Schedule
    from store.logs import configure_logs

    configure_logs()
    with opened(config) as (settings, database):
        collector = build_collector(database, settings, clock or SystemClock())

        async def work() -> None:
            stop = asyncio.Event()
            for signum in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(signum, stop.set)
            schedule = Schedule(collector)
            try:
                async with metrics_served(settings), announced(schedule, Notifier(os.environ)):
                    await schedule.run(stop)
            finally:
                await collector.account.close()

        asyncio.run(work())


def dumped(body: dict[str, Any]) -> str:
    """JSON for a person and a program alike."""
    return json_text(body, indent=2)


def _spec(settings: Settings, tier: str) -> TierSpec:
    for spec in settings.tier_specs:
        if spec.name == tier:
            return spec
    if tier in (UNASSIGNED, IGNORED):
        return TierSpec(tier, ", ".join(sorted(settings.providers)), "", Market.ON_DEMAND)
    known = ", ".join(spec.name for spec in settings.tier_specs)
    raise SettingsError(f"tier {tier!r}", "there is no such tier", f"choose one of: {known}")


def window_of(
    settings: Settings, name: str | None, start: str | None, end: str | None, default: str = "24h"
) -> Window:
    """The window that a command names, by its name or by its instants; `default` where it names none.

    Raises:
        SettingsError: no such window, no instants, in the wrong order, or both a name and instants.
    """
    now = datetime.now(UTC)
    if start is not None or end is not None:
        if name is not None:
            raise SettingsError(f"--window {name}", "there is --from or --to too", "leave one of them out")
        begin = instant_of("--from", start)
        until = instant_of("--to", end) if end is not None else now
        if begin >= until:
            raise SettingsError("--from", "is not before --to", "swap them")
        return Window(begin, until)
    name = default if name is None else name
    if name not in WINDOWS:
        raise SettingsError(f"--window {name}", "there is no such window", f"choose one of: {', '.join(WINDOWS)}")
    return named_window(name, now, settings.budget.timezone)
