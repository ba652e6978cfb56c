"""What `mtok init` asks on a terminal. Questions go to stderr, and a secret is read without an echo."""

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from console.providers.registry import ProviderKind, kind_names, provider_kind
from console.setup.proposal import Agent, Proposed, renamed, slug
from store.errors import AmountError, MtokError, SettingsError
from store.money import USD, parse_nusd

_CURRENCY = re.compile(r"[A-Z]{3}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LEAVE_OUT = "-"


def say(line: str) -> None:
    """A line for the person."""
    print(line, file=sys.stderr)


def ask(question: str, default: str | None = None) -> str:
    """One answer, without blanks around it."""
    answer: str = typer.prompt(question, default=default, err=True, type=str)
    return answer.strip()


def ask_secret(question: str) -> str:
    """A secret; what is typed is not shown."""
    answer: str = typer.prompt(f"{question} (not shown)", hide_input=True, err=True, type=str)
    return checked_key("the key", answer)


def ask_kind() -> ProviderKind:
    """Which kind of provider."""
    say(f"kinds of provider: {', '.join(kind_names())}")
    while True:
        try:
            return provider_kind(ask("kind of provider", "hyperstack"))
        except MtokError as error:
            say(str(error))


def ask_checked(question: str, default: str | None, check: Callable[[str], str]) -> str:
    """An answer that `check` accepts, asked for until it does."""
    while True:
        try:
            return check(ask(question, default))
        except SettingsError as error:
            say(f"{error.problem}; {error.remedy}")


def ask_key(default_env: str) -> tuple[str | None, str | None]:
    """The name of the environment variable that holds the key, or else the key itself."""
    name = ask("the environment variable that holds the API key; empty: type the key, it is kept in a file", "")
    if not name:
        return None, ask_secret(f"API key, as in {default_env}")
    return checked_variable(name), None


def ask_tiers(tiers: Sequence[Proposed]) -> list[Proposed]:
    """The tiers that the person keeps, under the names that they give."""
    kept: list[Proposed] = []
    for tier in tiers:
        question = f"tier for instance {tier.instance}, {tier.about}; a name, or {_LEAVE_OUT} to leave it out"
        while True:
            name = ask(question, tier.name)
            if name == _LEAVE_OUT:
                break
            if name == slug(name) and name not in {one.name for one in kept}:
                kept.append(renamed(tier, name))
                break
            say("small letters, digits and dashes, and no name twice")
    return kept


def ask_agent(tier: Proposed, secret_file: Path) -> Agent | None:
    """How the tier's agent is reached, or None for later."""
    how = ask(f"agent of {tier.name}: ssh, url or later", "later").lower()
    if how == "ssh":
        user, port = ask("SSH user", "ubuntu"), ask("SSH port", "22")
        return Agent(tier.name, secret_file, ssh_user=user, ssh_port=checked_port(port))
    if how == "url":
        return Agent(tier.name, secret_file, control_url=ask("address of its control API", "http://127.0.0.1:8701"))
    return None


def checked_amount(text: str, where: str = "--daily-usd") -> str:
    """A day's limit, as the option `where` gives it.

    Raises:
        SettingsError: it is no amount above zero.
    """
    try:
        if parse_nusd(text) > 0:
            return text
    except AmountError:
        pass
    raise SettingsError(where, f"{text[:40]!r} is no amount above zero", "write one such as 200 or 12.50")


def checked_limits(given: Sequence[str]) -> dict[str, str]:
    """By currency, a day's limit, each as EUR=180.

    Raises:
        SettingsError: it is no currency, or no amount above zero.
    """
    limits: dict[str, str] = {}
    for word in given:
        currency, _, amount = word.partition("=")
        where = f"--daily {word[:40]}"
        if not _CURRENCY.fullmatch(currency):
            raise SettingsError(where, "is no currency and its limit", "write one such as EUR=180")
        if currency == USD:
            raise SettingsError(where, "the limit in USD is --daily-usd", "give it there")
        limits[currency] = checked_amount(amount, where)
    return limits


def checked_zone(text: str) -> str:
    """A time zone.

    Raises:
        SettingsError: there is none of this name.
    """
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SettingsError(
            "--timezone", f"there is no time zone {text[:40]!r}", "write one such as UTC or Europe/Berlin"
        ) from None
    return text


def checked_variable(name: str) -> str:
    """The name of an environment variable; never the key itself, whose letters are not shown again.

    Raises:
        SettingsError: it is no such name.
    """
    if not _VARIABLE.fullmatch(name):
        raise SettingsError("--api-key-env", "this is no name of a variable", "name one such as CLOUD_API_KEY")
    return name


def checked_key(where: str, text: str) -> str:
    """A key as a header can carry it, without blanks around it.

    Raises:
        SettingsError: it is empty or has other letters than ASCII; it is not shown.
    """
    key = text.strip()
    if not key or not (key.isascii() and key.isprintable()) or " " in key:
        raise SettingsError(where, "is empty, or has blanks or letters that no key has", "copy it again")
    return key


def checked_port(text: str) -> int | None:
    """An SSH port; None for the usual one.

    Raises:
        SettingsError: it is none.
    """
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise SettingsError("--ssh-port", f"{text[:20]!r} is no port", "write one such as 22")
    return None if int(text) == 22 else int(text)
