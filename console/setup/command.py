"""`mtok init`: asks, tries the key, lists what the account holds, and writes settings that load."""

import os
import secrets
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from console.export.text import rendered
from console.providers.registry import Options, ProviderKind, provider_kind
from console.setup.account import Found, look
from console.setup.files import why_not_new, write_all
from console.setup.proposal import Agent, Proposed, left_out, printable, propose, slug
from console.setup.questions import (
    ask,
    ask_agent,
    ask_checked,
    ask_key,
    ask_kind,
    ask_secret,
    ask_tiers,
    checked_amount,
    checked_key,
    checked_limits,
    checked_port,
    checked_variable,
    checked_zone,
    say,
)
from console.setup.text import Plan, settings_text
from store.errors import ExitCode, SettingsError
from store.logs import silence_logs
from store.money import USD, display
from store.settings_file import read_secret


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line says; what is None is asked for, on a terminal."""

    kind: str | None = None
    name: str | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    api_key_file: Path | None = None
    daily_usd: str | None = None
    timezone: str | None = None
    ssh_user: str | None = None
    ssh_port: str = "22"
    options: Sequence[str] = ()
    daily: Sequence[str] = ()
    yes: bool = False
    force: bool = False


@dataclass(slots=True)
class _Key:
    """The key that is tried, and how the settings shall name it."""

    text: str = field(default="", repr=False)
    env: str | None = None
    file: Path | None = None


def run_init(config: Path | None, wish: Wish) -> int:
    """From a key to `mtok.toml`. Nothing is written before the key has been tried.

    Raises:
        SettingsError: an answer cannot be used, or the file is there already.
        ProviderError: the account cannot be read with this key.
    """
    silence_logs()
    path = _place(config)
    if why := why_not_new(path, force=wish.force):
        raise SettingsError(str(path), why, "use --force, which keeps the old one beside it, or --config PATH")
    _check(wish)
    asks = _may_ask(wish)
    kind = provider_kind(wish.kind) if wish.kind is not None else ask_kind()
    options = _options(kind, wish, asks=asks)
    base_url = wish.base_url or kind.base_url or (ask("address of its API") if asks and kind.needs_key else "")
    if not base_url and kind.needs_key:
        raise SettingsError("--base-url", f"kind {kind.kind!r} has no address of its own", "give it")
    name = slug(wish.name or kind.kind) or "cloud"
    key = _key(kind, wish, path.parent, name)
    parsed = kind.options.model_validate(dict(options))
    found = look(kind, key.text, base_url, parsed, path.parent)
    print(_listed(kind, found))
    limits = _limits(wish, found.currencies | {getattr(parsed, "currency", USD)}, asks=asks)
    plan, kept_secrets = _planned(kind, wish, found, path.parent, asks=asks)
    plan = replace(plan, daily=limits, provider=name, key_env=key.env, key_file=key.file, options=options)
    plan = replace(plan, base_url=base_url if base_url != kind.base_url else None)
    if key.file is not None and wish.api_key_file is None:
        kept_secrets[path.parent / key.file] = key.text
    if asks and not wish.yes and ask(f"write {path}? yes or no", "yes").lower() not in ("y", "yes"):
        say("nothing was written")
        return int(ExitCode.FAILED)
    _, old = write_all(path, settings_text(plan), kept_secrets, datetime.now(UTC))
    _said(path, plan, old)
    return int(ExitCode.OK)


def _place(config: Path | None) -> Path:
    return (config or Path(os.environ.get("MTOK_CONFIG") or "mtok.toml")).expanduser().absolute()


def _check(wish: Wish) -> None:
    """Whatever can be refused without asking anybody is refused first."""
    if wish.daily_usd is not None:
        checked_amount(wish.daily_usd)
    checked_limits(wish.daily)
    if wish.timezone is not None:
        checked_zone(wish.timezone)
    checked_port(wish.ssh_port)


def _may_ask(wish: Wish) -> bool:
    """Whether there is somebody to ask; without, everything that has no default must have been said."""
    if sys.stdin.isatty():
        return not wish.yes
    kind = None if wish.kind is None else provider_kind(wish.kind)
    needed = {
        "--kind": wish.kind,
        "--daily-usd": wish.daily_usd,
        "--api-key-env or --api-key-file": wish.api_key_env or wish.api_key_file or (kind and not kind.needs_key),
        "--yes": wish.yes,
    }
    if missing := [option for option, value in needed.items() if not value]:
        raise SettingsError("init", "stdin is no terminal, so nothing can be asked", f"give {', '.join(missing)}")
    return False


def _options(kind: ProviderKind, wish: Wish, *, asks: bool) -> tuple[tuple[str, str], ...]:
    """The settings of the kind's own that were given as NAME=VALUE, or that it cannot do without."""
    given: dict[str, str] = {}
    for word in wish.options:
        name, sign, value = word.partition("=")
        if not sign or name not in kind.options.model_fields:
            known = ", ".join(sorted(kind.options.model_fields)) or "none"
            raise SettingsError(f"--set {name}", f"kind {kind.kind!r} has no such setting", f"it has: {known}")
        given[name] = value
    for name, about in kind.options.model_fields.items():
        if about.is_required() and name not in given:
            if not asks:
                raise SettingsError(f"--set {name}=…", f"kind {kind.kind!r} needs it", "give it")
            given[name] = ask(name)
    try:
        _: Options = kind.options.model_validate(given)
    except ValidationError as error:
        fault = error.errors()[0]
        where = f"--set {'.'.join(map(str, fault['loc'])) or '…'}"
        raise SettingsError(where, fault["msg"].removeprefix("Value error, "), "correct it") from None
    return tuple(given.items())


def _key(kind: ProviderKind, wish: Wish, folder: Path, name: str) -> _Key:
    """The key, from where the options or the person say."""
    if not kind.needs_key:
        if wish.api_key_env or wish.api_key_file:
            raise SettingsError("--api-key-…", f"kind {kind.kind!r} has no key", "leave it out")
        return _Key()
    if wish.api_key_env is not None and wish.api_key_file is not None:
        raise SettingsError("--api-key-env", "there is --api-key-file too", "give one of them")
    env, text = wish.api_key_env, None
    if env is None and wish.api_key_file is None:
        env, text = ask_key(f"{kind.title}'s own console")
    if text is not None:
        return _Key(text, file=Path("secrets") / f"{name}.key")
    if env is not None:
        checked_variable(env)
        return _Key(checked_key(env, read_secret("--api-key-env", folder, env, None)), env=env)
    assert wish.api_key_file is not None
    file = Path(os.path.abspath(wish.api_key_file.expanduser()))  # noqa: PTH100 - without "..", and links as they are
    inside = file.relative_to(folder) if file.is_relative_to(folder) else file
    return _Key(checked_key(str(file), read_secret("--api-key-file", folder, None, file)), file=inside)


def _planned(
    kind: ProviderKind, wish: Wish, found: Found, folder: Path, *, asks: bool
) -> tuple[Plan, dict[Path, str]]:
    daily = wish.daily_usd or (ask_checked("limit per day in USD", None, checked_amount) if asks else None)
    if daily is None:
        raise SettingsError("--daily-usd", "is missing", "give it")
    zone = wish.timezone or (ask_checked("time zone in which a day begins", "UTC", checked_zone) if asks else "UTC")
    tiers = list(propose(found))
    if asks and tiers:
        tiers = ask_tiers(tiers)
    kept: dict[Path, str] = {}
    tiers = [_with_agent(tier, wish, folder, kept, asks=asks) for tier in tiers]
    return Plan(kind.kind, kind.kind, kind.title, daily, zone, tiers, left_out(found, tiers)), kept


def _limits(wish: Wish, billed: frozenset[str], *, asks: bool) -> tuple[tuple[str, str], ...]:
    """A limit for each currency that the account bills in: without one the gate would never open."""
    limits = checked_limits(wish.daily)
    for currency in sorted(billed - {USD, *limits}):
        if not asks:
            problem = f"the account bills in {currency}, and without a limit in it the gate stays closed"
            raise SettingsError("--daily", problem, f"give one such as --daily {currency}=180; nothing was written")
        limits[currency] = ask_checked(f"limit per day in {currency}", None, checked_amount)
    return tuple(limits.items())


def _with_agent(tier: Proposed, wish: Wish, folder: Path, kept: dict[Path, str], *, asks: bool) -> Proposed:
    """The tier with its agent. A new agent's secret is made here, and `mtok host install` takes it there."""
    file = Path("secrets") / f"{tier.name}.secret"
    agent = None
    if wish.ssh_user is not None:
        agent = Agent(tier.name, file, ssh_user=wish.ssh_user, ssh_port=checked_port(wish.ssh_port))
    elif asks:
        agent = ask_agent(tier, file)
    if agent is not None and agent.control_url is not None:
        kept[folder / file] = ask_secret(f"control secret of {agent.name}")
    elif agent is not None and not (folder / file).exists():
        kept[folder / file] = secrets.token_urlsafe(32)
    return replace(tier, agent=agent)


def _listed(kind: ProviderKind, found: Found) -> str:
    """What the account holds, as the provider says it."""
    if not found.instances and not found.volumes:
        return (
            f"{kind.title}: the key works, and the account is empty: no instance, no volume.\n"
            "What is made later is counted as `unassigned` until a tier names it."
        )
    table = Table(box=None, pad_edge=False, header_style="")
    for heading in ("kind", "id", "name", "state", "quoted per hour", "attached to"):
        table.add_column(heading, overflow="fold")
    for one in (*found.instances, *found.volumes):
        rate = found.rate(one)
        shown = "—" if rate is None else display(rate[0], rate[1], decimals=4)
        cells = (one.ref.kind, one.ref.id, one.name, one.raw_state, shown, one.attached_to or "")
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return f"{kind.title}: the key works; {found.counters} bill counters.\n{rendered(table)}"


def _said(path: Path, plan: Plan, old: Path | None) -> None:
    """What was done, and what to do next."""
    say(f"wrote {path}" + (f"; the old one is {old}" if old is not None else ""))
    for tier in plan.tiers:
        say(
            f"  tier {tier.name}: instance {tier.instance}"
            + ("" if tier.agent else "; its agent is left for later")
        )
    if plan.left:
        say(f"  in no tier: {len(plan.left)}; they are counted as unassigned")
    if not plan.tiers:
        say("  no tier yet: make an instance, then run mtok init --force, or add a tier to the file")
    where = "" if path == Path("mtok.toml").absolute() else f" --config {shlex.quote(str(path))}"
    print("next:")
    for command, about in (
        ("doctor", "whether everything can be used"),
        ("collect", "sample the bills, once a minute; docs/running.md has the service"),
        ("console", "the screen"),
    ):
        print(f"  mtok {command}{where}    # {about}")
