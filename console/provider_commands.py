"""`mtok provider …`: the kinds of provider that there are, and whether an adapter keeps its promises."""

import asyncio
from datetime import timedelta

from console.commands import dumped
from console.errors import KindRefused
from console.export.text import plain_table, rendered
from console.providers.conformance import CHECKS, check_kind
from console.providers.conformance_bench import Checked
from console.providers.registry import kind_names, provider_kind
from store.errors import ExitCode
from store.logs import silence_logs
from store.printable import printable
from store.steps import told


def list_kinds(*, as_json: bool) -> None:
    """Every kind with what is known of its bills; one that cannot be used says why."""
    rows = [_row(name) for name in kind_names()]
    if as_json:
        print(dumped({"kinds": rows}))
        return
    table = plain_table()
    for heading in ("kind", "bill", "moves every", "volumes", "currency", "asleep it bills", "sleeping loses"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        if "problem" in row:
            table.add_row(str(row["kind"]), str(row["problem"]))
            continue
        step = row["step"] or row["steps_are"] or "not stated"
        cells = (
            row["kind"],
            row["bill"],
            step,
            "billed" if row["bills_volumes"] else "not billed",
            row["currency"],
        )
        table.add_row(*map(str, (*cells, row["asleep_bills"], row["sleep_loses"])))
    print(rendered(table))


def check(name: str, *, as_json: bool) -> int:
    """Put one kind to every check, against its own simulator; exit code 1 when a promise is not kept."""
    silence_logs()
    kind, found = provider_kind(name), []
    for promise in CHECKS:
        (one,) = asyncio.run(check_kind(kind, [promise]))
        found.append(one)
        if not as_json:
            mark = "ok    " if one.problem is None else "FAILED"
            why = f": {one.problem}" if one.problem else ""
            print(printable(f"{mark}  {one.check.name}: {one.check.promise}{why}"), flush=True)
    if as_json:
        print(dumped({"kind": name, "checks": [_body(one) for one in found]}))
    return int(ExitCode.OK if all(one.problem is None for one in found) else ExitCode.FAILED)


def _row(name: str) -> dict[str, object]:
    try:
        kind = provider_kind(name)
    except KindRefused as error:
        return {"kind": name, "problem": str(error)}
    facts = kind.facts
    return {
        "kind": name,
        "title": kind.title,
        "simulated": kind.is_simulated,
        "bill": facts.bill,
        "step": _told(facts.step),
        "steps_are": facts.steps_are,
        "lag": _told(facts.lag),
        "asleep_bills": facts.asleep_bills,
        "sleep_loses": facts.sleep_loses,
        "bills_volumes": facts.bills_volumes,
        "can_backfill": facts.can_backfill,
        "currency": facts.currency,
        "least_poll_s": facts.least_poll.total_seconds(),
        "source": facts.source,
        "settings": sorted(kind.options.model_fields),
    }


def _told(step: timedelta | None) -> str | None:
    return None if step is None else told(step)


def _body(one: Checked) -> dict[str, object]:
    promise = one.check
    return {
        "check": promise.name,
        "promise": promise.promise,
        "kept": one.problem is None,
        "problem": one.problem,
    }
