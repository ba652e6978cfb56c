"""`mtok doctor`: every check, a line each; exit code 1 where one has failed."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from console.commands import dumped
from console.doctor.check import Check, Level, failed, fine, refused
from console.doctor.here import here, versions
from console.doctor.store import the_store
from console.service import current_actor
from console.settings import Settings, load_settings
from console.settings_place import find_settings
from store.errors import ExitCode, SettingsError
from store.logs import silence_logs
from store.printable import printable


def examine(
    config: Path | None, *, send_test_alarm: bool = False, offline: bool = False, as_json: bool = False
) -> int:
    """Look at everything that the settings name, and print it; `offline`: nothing is asked of the network."""
    silence_logs()
    found = []
    for check in _checks(config, send_test_alarm=send_test_alarm, offline=offline):
        found.append(check)
        if not as_json:
            print(printable(check.line), flush=True)
    is_sound = all(check.level is not Level.FAILED for check in found)
    if as_json:
        bodies = [{"what": c.what, "level": c.level, "detail": c.detail, "remedy": c.remedy} for c in found]
        print(dumped({"sound": is_sound, "checks": bodies}))
    return int(ExitCode.OK if is_sound else ExitCode.FAILED)


def _checks(config: Path | None, *, send_test_alarm: bool, offline: bool) -> Iterator[Check]:
    path = find_settings(config)
    try:
        settings = load_settings(path)
    except SettingsError as error:
        yield refused("settings", error)
        yield versions()
        return
    yield fine("settings", f"{settings.path}; tiers: {len(settings.tiers)}, providers: {len(settings.providers)}")
    yield from here(settings)
    yield from the_store(settings)
    if send_test_alarm:
        yield from _test_alarm(settings)
    if offline:
        return
    from console.doctor.outside import outside

    yield from asyncio.run(outside(settings))


def _test_alarm(settings: Settings) -> Iterator[Check]:
    from console.collector.alarms import Channels

    if not settings.alarms.channels:
        yield failed("test alarm", "no channel is set", "add [[alarms.channels]]")
        return
    try:
        channels = Channels(settings)
    except SettingsError:
        return  # said of the channels already
    sent = asyncio.run(channels.send("mtok: test alarm", f"a test, asked for by {current_actor()}; all is well"))
    for name, problem in sent.items():
        if problem is None:
            yield fine(f"alarms, {name}", "the test alarm was taken")
        else:
            yield failed(f"alarms, {name}", problem, "check its URL, and what that service says")
