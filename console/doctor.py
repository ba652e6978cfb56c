"""`mtok doctor`: whether everything that the settings name can be used, one line each."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from console.collector.alarms import Channels
from console.collector.build import why_not_lead
from console.commands import opened
from console.service import current_actor
from console.settings import Settings
from store.check import check
from store.errors import ExitCode, SettingsError
from store.printable import printable

_OK = "ok"


def examine(config: Path | None, *, send_test_alarm: bool) -> int:
    """Print a line a thing; exit code 1 where one cannot be used.

    Raises:
        SettingsError: the settings file itself cannot be used.
        StoreError: the store cannot be used.
    """
    with opened(config) as (settings, database):
        found = [("settings", _OK), ("store", "; ".join(str(finding) for finding in check(database)[:3]) or _OK)]
        found += [("secrets", why_not_lead(settings) or _OK)]
    found += list(_alarms(settings, send=send_test_alarm))
    for what, problem in found:
        print(printable(f"{what}: {problem}"))
    return int(ExitCode.OK if all(problem == _OK for _, problem in found) else ExitCode.FAILED)


def _alarms(settings: Settings, *, send: bool) -> Iterator[tuple[str, str]]:
    if not settings.alarms.channels:
        yield "alarms", "no channel is set: nobody is told; add [[alarms.channels]]" if send else _OK
        return
    try:
        channels = Channels(settings)
    except SettingsError as error:
        yield "alarms", str(error)
        return
    if not send:
        yield "alarms", _OK
        return
    sent = asyncio.run(channels.send("mtok: test alarm", f"a test, asked for by {current_actor()}; all is well"))
    for name, problem in sent.items():
        yield f"alarms, {name}", problem or _OK
