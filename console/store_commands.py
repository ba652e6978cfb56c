"""`mtok store …`, `mtok counter …`, `mtok reconcile`: what auditors and keepers of the store ask for."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from console.collector.build import build_account
from console.commands import dumped, window_of
from console.export.status import not_in_usd
from console.export.text import PlainTable, plain_table, rendered
from console.instants import YEARS
from console.opening import opened
from console.reconcile import Reconciled, days, read_invoice, reconcile_invoice, reconcile_window
from console.service import current_actor
from console.settings import Settings
from store.check import check
from store.clock import SystemClock, rfc3339
from store.copy import copy_store
from store.counters import samples_of
from store.database import Database, open_database
from store.errors import AmountError, ExitCode, SettingsError
from store.money import USD, format_nusd, parse_nusd
from store.printable import printable, printable_lines
from store.reconcile import Key, Line
from store.retention import Thinned, thin
from store.settle import settle
from store.steps import step_of, told
from store.tables import BillCounter, BillSample
from store.window import Window, day_start

_EVER = datetime.max.replace(tzinfo=UTC)


def list_counters(config: Path | None, *, as_json: bool) -> None:
    """Every bill counter: what it holds, how often it moves, how far it trails, and whether it is settled."""
    with opened(config) as (_settings, database):
        bodies = counter_bodies(database)
    if as_json:
        print(dumped({"counters": bodies}))
        return
    table = _table("id", "tier", "counter", "total", "", "step", "lag", "moved", "state")
    for body in bodies:
        cells = (str(body["id"]), body["tier"], body["counter"], body["total"] or "—", body["currency"])
        table.add_row(*cells, *(str(body[name] or "—") for name in ("step", "lag", "moved_at", "state")))
    print(rendered(table))


def counter_bodies(database: Database) -> list[dict[str, Any]]:
    """What `mtok counter list --json` has, by tier."""
    with database.read() as session:
        found = sorted(samples_of(session, True, _EVER), key=lambda one: one[0].tier)
        return [_counter_body(counter, last) for counter, last in found]


def settle_counter(config: Path | None, counter_id: int, reason: str, total: str | None) -> None:
    """Close an unsettled counter, at its last reading or at a total that the engineer knows."""
    nusd = None if total is None else _amount("--total", total)
    with opened(config) as (_settings, database), database.write() as session:
        at = datetime.now(UTC)
        counter = settle(session, at, counter_id, actor=current_actor(), reason=reason, total_nusd=nusd)
        print(printable(f"settled {counter.counter}"))


@dataclass(frozen=True, slots=True)
class Bill:
    """What is reconciled: a day or a window; one provider or all; with their own bill, or with an invoice."""

    day: str | None = None
    start: str | None = None
    end: str | None = None
    provider: str | None = None
    invoice: Path | None = None


def reconcile(config: Path | None, bill: Bill, *, as_json: bool) -> int:
    """Figures against the provider's windowed bill, day by day; exit code 1 where something is not explained."""
    with opened(config) as (settings, database):
        if bill.provider not in (None, *settings.providers):
            known = ", ".join(settings.providers)
            raise SettingsError(
                f"--provider {bill.provider}", "there is no such provider", f"choose one of: {known}"
            )
        window = _closed_window(settings, bill.day, bill.start, bill.end)
        invoice = None if bill.invoice is None else read_invoice(bill.invoice)
        found = asyncio.run(_reconciled(settings, database, window, bill.provider, invoice))
    print(dumped(reconcile_body(found)) if as_json else printable_lines(_reconcile_text(found)))
    return int(ExitCode.OK if all(one.holds for one in found) else ExitCode.FAILED)


async def _reconciled(
    settings: Settings, database: Database, window: Window, name: str | None, invoice: Mapping[Key, int] | None
) -> list[Reconciled]:
    account = build_account(settings, SystemClock())
    try:
        providers = [one for one in account.providers.values() if name in (None, one.name)]
        if invoice is not None:
            return [await reconcile_invoice(database, providers, window.start, window.end, invoice)]
        return [
            await reconcile_window(database, provider, *day)
            for provider in providers
            for day in days(window.start, window.end, settings.budget.timezone)
        ]
    finally:
        await account.close()


def reconcile_body(found: list[Reconciled]) -> dict[str, Any]:
    """What `--json` prints. Under a name in `_usd` are dollars alone."""
    left = _remaining(found)
    return {
        "holds": all(one.holds for one in found),
        "difference_usd": format_nusd(left.get(USD, 0)),
        "differences": {currency: format_nusd(nusd) for currency, nusd in left.items()},
        "windows": [
            {
                "provider": one.provider,
                "start": rfc3339(one.start),
                "end": rfc3339(one.end),
                "holds": one.holds,
                "organisation_usd": _organisation(one),
                "lines": [_line_body(line) for line in one.lines],
                "altered": [{"sample": each.subject, "problem": each.problem} for each in one.altered],
            }
            for one in found
        ],
    }


def _remaining(found: list[Reconciled]) -> dict[str, int]:
    """What nothing explains in all windows, by currency."""
    left: dict[str, int] = {}
    for one in found:
        for currency, nusd in one.remaining_nusd.items():
            left[currency] = left.get(currency, 0) + nusd
    return dict(sorted(left.items()))


def _organisation(one: Reconciled) -> str | dict[str, str]:
    if not isinstance(one.organisation_nusd, int):
        return {"unknown": one.organisation_nusd or "an invoice names none"}
    others = sorted({line.currency for line in one.lines} - {USD})
    return not_in_usd(", ".join(others) or USD) or format_nusd(one.organisation_nusd)


def check_store(config: Path | None, *, as_json: bool) -> int:
    """Every invariant of the store; exit code 1 where one does not hold."""
    with opened(config) as (_settings, database):
        findings = check(database)
        url = database.url
    if as_json:
        bodies = [{"subject": one.subject, "problem": one.problem} for one in findings]
        print(dumped({"store": url, "findings": bodies}))
    else:
        print(
            "\n".join(printable(f"{one.subject}: {one.problem}") for one in findings)
            or f"{url}: every invariant holds"
        )
    return int(ExitCode.FAILED if findings else ExitCode.OK)


def thin_store(config: Path | None) -> None:
    """Thin the history now, and say what it took and takes."""
    with opened(config) as (settings, database):
        done = thin(database, settings.retention_policy, datetime.now(UTC))
    print(_thinned_text(done))


def migrate_store(config: Path | None) -> None:
    """Bring the store to this version; opening it does."""
    with opened(config) as (_settings, database):
        print(f"{database.url} is at this version")


def copy_history(source: str, target: str) -> None:
    """Copy a whole history from one store to an empty one."""
    out = open_database(source)
    try:
        into = open_database(target)
        try:
            copied = copy_store(out, into)
        finally:
            into.close()
    finally:
        out.close()
    print("\n".join(f"{name}: {rows} rows" for name, rows in copied.items()))


def _counter_body(counter: BillCounter, last: BillSample | None) -> dict[str, Any]:
    step = step_of(counter.steps)
    marks = {"unsettled": counter.unsettled_at, "final": counter.final_at, "excluded": counter.excluded}
    state = next((word for word, is_so in marks.items() if is_so), "live")
    lag_s = None if last is None else max((last.at - last.as_of_at).total_seconds(), 0)
    return {
        "id": counter.id,
        "provider": counter.provider,
        "tier": counter.tier,
        "counter": counter.counter,
        "resource_type": counter.kind,
        "resource_id": counter.resource_id,
        "total": None if last is None else format_nusd(last.total_nusd),
        "opening": format_nusd(counter.opening_nusd),
        "currency": counter.currency,
        "step": None if step is None else told(step),
        "lag": None if lag_s is None else f"{lag_s:.0f} s",
        "moved_at": None if counter.moved_at is None else rfc3339(counter.moved_at.replace(microsecond=0)),
        "state": state,
    }


def _line_body(line: Line) -> dict[str, Any]:
    amounts = {
        "ours": None if line.ours_nusd is None else format_nusd(line.ours_nusd),
        "theirs": None if line.theirs_nusd is None else format_nusd(line.theirs_nusd),
        "edge": format_nusd(line.edges_nusd),
        "remaining": format_nusd(line.remaining_nusd),
    }
    elsewhere = not_in_usd(line.currency)
    return {
        "resource_type": line.resource[0],
        "resource_id": line.resource[1],
        "name": line.name,
        "tier": line.tier,
        "currency": line.currency,
        **amounts,
        **{f"{name}_usd": elsewhere or amount for name, amount in amounts.items()},
        "explanation": line.explanation,
    }


def _reconcile_text(found: list[Reconciled]) -> str:
    table = _table("from", "resource", "tier", "ours", "theirs", "edge", "remaining", "", "")
    lines = []
    for one in found:
        for line in one.lines:
            amounts = (line.ours_nusd, line.theirs_nusd, line.edges_nusd, line.remaining_nusd)
            cells = ["—" if nusd is None else format_nusd(nusd) for nusd in amounts]
            table.add_row(
                rfc3339(one.start), " ".join(line.resource), line.tier, *cells, line.currency, line.explanation
            )
        lines += [f"altered: {each.subject}: {each.problem}" for each in one.altered]
        if isinstance(one.organisation_nusd, str):
            lines.append(f"{one.provider}: the account's total is not known: {one.organisation_nusd}")
        elif one.organisation_nusd is not None and one.organisation_nusd != one.theirs_nusd:
            off = format_nusd(one.organisation_nusd - one.theirs_nusd)
            lines.append(
                f"{one.provider} from {rfc3339(one.start)}: the account's total is {off} above its resources'"
            )
    left = ", ".join(f"{format_nusd(nusd)} {name}" for name, nusd in (_remaining(found) or {USD: 0}).items())
    verdict = "every difference is explained" if all(one.holds for one in found) else "NOT RECONCILED"
    return "\n".join([rendered(table), *lines, f"difference {left}: {verdict}"])


def _closed_window(settings: Settings, day: str | None, start: str | None, end: str | None) -> Window:
    zone, now = settings.budget.timezone, datetime.now(UTC)
    if start is not None or end is not None:
        if day is not None:
            raise SettingsError(f"--day {day}", "there is --from or --to too", "leave one of them out")
        return window_of(settings, None, start, end)
    if day is None:
        midnight = day_start(now, zone)
        return Window(day_start(midnight - timedelta(hours=12), zone), midnight)
    try:
        noon = datetime.fromisoformat(day).replace(hour=12, tzinfo=zone)
    except ValueError:
        noon = None
    if noon is None or noon.year not in YEARS:
        raise SettingsError(f"--day {day}", "is no date", "write one such as 2026-11-23")
    begin = day_start(noon, zone)
    until = day_start(begin + timedelta(hours=36), zone)
    if until > now:
        raise SettingsError(f"--day {day}", "is not over yet", "choose a day that has ended")
    return Window(begin, until)


def _amount(where: str, text: str) -> int:
    try:
        return parse_nusd(text)
    except AmountError as error:
        raise SettingsError(f"{where} {text}", error.problem, "write an amount such as 12.50") from None


def _thinned_text(done: Thinned) -> str:
    table = _table("table", "rows before", "rows after")
    for name, rows in done.before.items():
        table.add_row(name, f"{rows:,}", f"{done.after[name]:,}")
    return f"{rendered(table)}\n{done.size_bytes / 2**20:,.1f} MiB on disk"


def _table(*headings: str) -> PlainTable:
    table = plain_table()
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    return table
