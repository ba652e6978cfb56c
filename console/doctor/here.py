"""What this machine has: rights of files, secrets, versions, the terminal. Nothing is asked of anybody else."""

import os
import platform
import shutil
import sqlite3
import stat
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sqlalchemy.engine import make_url

from console.collector.build import control_secret, provider_key
from console.doctor.check import Check, failed, fine, looked, refused, warned
from console.hosts.known_hosts import known_keys
from console.settings import Settings
from store.errors import MtokError, SettingsError
from store.settings_file import read_text

_PACKAGES = (
    "textual",
    "sqlalchemy",
    "sqlmodel",
    "alembic",
    "pydantic",
    "typer",
    "httpx",
    "paramiko",
    "apscheduler",
)
_NARROWEST, _LOWEST = 80, 24


def here(settings: Settings) -> Iterator[Check]:
    """Each thing of this machine, in the order in which they are needed."""
    yield from _rights(settings)
    yield from _secrets(settings)
    yield from _host_keys(settings)
    yield _channels(settings)
    yield _heartbeat(settings)
    yield versions()
    yield _terminal(settings)


def sqlite_path(settings: Settings) -> Path | None:
    """The store's file; None for another database."""
    address = make_url(settings.store_url)
    return Path(address.database) if address.get_backend_name() == "sqlite" and address.database else None


def _rights(settings: Settings) -> Iterator[Check]:
    yield _written_by_others(settings.path, "it says where keys are sent") or fine(
        "rights, settings", f"{settings.path} is written by its owner alone"
    )
    secrets = [path for path in _secret_files(settings) if path.exists()]
    found = [check for path in secrets if (check := _read_by_others(path)) is not None]
    yield from found
    if secrets and not found:
        yield fine("rights, secrets", f"{len(secrets)} files, read by nobody else")
    if path := sqlite_path(settings):
        yield from _store_rights(path)


def _secret_files(settings: Settings) -> list[Path]:
    named = [one.api_key_file for one in settings.providers.values()]
    named += [one.url_file for one in settings.alarms.channels]
    for tier in settings.tiers:
        for agent in tier.agents:
            named += [agent.control_secret_file, agent.ssh_key_file]
    return [settings.path.parent / path.expanduser() for path in named if path is not None]


def _written_by_others(path: Path, why: str) -> Check | None:
    mode = path.stat().st_mode
    if not mode & (stat.S_IWGRP | stat.S_IWOTH):
        return None
    who = "everybody" if mode & stat.S_IWOTH else "its group"
    return failed("rights, settings", f"{path} can be written by {who}: {why}", f"chmod go-w {path}")


def _read_by_others(path: Path) -> Check | None:
    found = path.stat()
    if found.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        who = "everybody" if found.st_mode & stat.S_IRWXO else "its group"
        return failed("rights, secrets", f"{path} is open to {who}", f"chmod 600 {path}")
    if found.st_mode & stat.S_IRGRP and found.st_uid != 0:  # root's, for a service's group: how that is done
        return warned("rights, secrets", f"{path} is read by its group", f"chmod 600 {path}")
    return None


def _store_rights(path: Path) -> Iterator[Check]:
    """Whoever may write the store may ask for anything; whoever may read it reads the bills (DESIGN, section 3)."""
    files = [one for suffix in ("", "-wal", "-shm") if (one := Path(f"{path}{suffix}")).exists()]
    if not files:
        return
    for one in (path.parent, *files):
        if one.stat().st_mode & stat.S_IWOTH and not one.stat().st_mode & stat.S_ISVTX:
            yield failed("rights, store", f"{one} can be written by everybody", f"chmod o-rwx {one}")
            return
    open_ones = [one for one in files if one.stat().st_mode & stat.S_IRWXO]
    if open_ones and path.parent.stat().st_mode & stat.S_IXOTH:
        yield warned("rights, store", f"{open_ones[0]} is read by everybody", f"chmod o-rwx {path}*")
        return
    modes = {stat.S_IMODE(one.stat().st_mode) & 0o060 for one in files}
    groups = {one.stat().st_gid for one in files}
    if len(modes) > 1 or len(groups) > 1:
        remedy = f"chmod 2770 {path.parent}; chmod 660 {path}*; start mtok with umask 007"
        yield warned("rights, store", f"{path} and the files beside it have different groups or rights", remedy)
        return
    who = "its owner and its group" if modes == {0o060} else "its owner"
    yield fine("rights, store", f"{path} is written by {who}")


def _secrets(settings: Settings) -> Iterator[Check]:
    """Each secret is there; what it is, is never shown."""
    for name, section in settings.providers.items():
        if section.registered.needs_key:
            yield looked(f"key, {name}", lambda name=name: f"{len(provider_key(settings, name))} characters")  # type: ignore[misc]
    for tier in settings.tiers:
        for agent in tier.agents:

            def look(tier=tier, agent=agent) -> str:  # type: ignore[no-untyped-def]
                control_secret(settings, tier, agent)
                if agent.ssh_key_file is None:
                    return "the control secret is there"
                path = settings.path.parent / agent.ssh_key_file.expanduser()
                read_text(f"agent {agent.name}: ssh_key_file", path)
                return "the control secret and the SSH key are there"

            yield looked(f"secrets, {agent.name}", look)


def _host_keys(settings: Settings) -> Iterator[Check]:
    for tier in settings.tiers:
        for agent in tier.agents:
            if agent.ssh_user is None:
                continue
            what, target = f"host key, {agent.name}", settings.ssh_target(agent)
            try:
                known, _ = known_keys(target.known_hosts_file, target.alias)
            except MtokError as error:
                yield failed(what, str(error), "")
                continue
            if known:
                yield fine(what, f"{target.alias} is pinned in {target.known_hosts_file}")
            else:
                detail = f"{target.known_hosts_file} has no key of {target.alias}"
                yield failed(what, detail, f"compare and accept it: mtok host trust {agent.name}")


def _channels(settings: Settings) -> Check:
    from console.collector.alarms import Channels

    if not settings.alarms.channels:
        return warned("alarms", "no channel is set: nobody is told", "add [[alarms.channels]]")
    try:
        channels = Channels(settings)
    except SettingsError as error:
        return refused("alarms", error)
    if channels.not_understood:
        detail = f"apprise does not understand the URL of {', '.join(channels.not_understood)}"
        return failed("alarms", detail, "write one of its URLs, such as mailto://… or slack://…")
    return fine("alarms", f"channels: {', '.join(channels.names)}")


def _heartbeat(settings: Settings) -> Check:
    if settings.alarms.heartbeat_url is None:
        remedy = "set [alarms] heartbeat_url to a dead man's switch"
        return warned("heartbeat", "no address is set: a dead collector is noticed by open consoles alone", remedy)
    return fine("heartbeat", "an address is set, called after each complete tick")


def versions() -> Check:
    """What runs here, for whoever reads a report of it."""
    found = [f"mtok {version('mtok')}", f"Python {platform.python_version()}", f"SQLite {sqlite3.sqlite_version}"]
    missing = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return failed("versions", f"not installed: {', '.join(missing)}", "pip install 'mtok[console]'")
    return fine("versions", ", ".join(found))


def _terminal(settings: Settings) -> Check:
    from console.tui.terminal import NoScreen, look_for, this_terminal

    if not sys.stdout.isatty():
        return fine("terminal", "not looked at: stdout is none")
    terminal = this_terminal(os.environ)
    try:
        look = look_for(terminal, settings.console)
    except NoScreen as error:
        return warned("terminal", error.why, "use mtok console --plain, or mtok status")
    columns, rows = shutil.get_terminal_size()
    detail = f"{terminal.term}, {columns}×{rows}, {'ASCII' if look.is_ascii else 'UTF-8'}"
    if columns < _NARROWEST or rows < _LOWEST:
        return warned("terminal", detail, f"make it {_NARROWEST}×{_LOWEST} or larger")
    if look.is_ascii and settings.console.ascii is None:
        return warned("terminal", detail, "set LANG to a UTF-8 locale for lines and bars")
    return fine("terminal", detail)
