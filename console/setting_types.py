"""Values as the settings file writes them: durations, amounts, time zones, waking hours."""

import ipaddress
import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from console.waking_hours import WakingHours, parse_waking_hours
from store.errors import AmountError
from store.money import parse_nusd

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_LONGEST = timedelta(days=36_500)  # an instant so far away can still be written
_UNIT_S = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}


class Section(BaseModel):
    """A part of the settings file: nothing unknown in it, and nothing changes it."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, defer_build=True)


def parse_duration(value: object) -> timedelta:
    """A duration written as `170s`, `15m`, `1.5h`.

    Raises:
        ValueError: it is not.
    """
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        msg = "write a duration as text, such as '170s', '15m' or '1h'"
        raise ValueError(msg)
    try:
        found = timedelta(seconds=float(Decimal(match[1]) * _UNIT_S[match[2]]))
    except (ArithmeticError, ValueError):
        found = timedelta.max
    if found > _LONGEST:
        msg = f"is longer than {_LONGEST.days} days"
        raise ValueError(msg)
    return found


def _usd(value: object) -> int:
    if not isinstance(value, str):
        msg = "write an amount as text, so that it is exact, such as '200' or '12.50'"
        raise ValueError(msg)
    try:
        return parse_nusd(value)
    except AmountError as error:
        raise ValueError(error.problem) from None


def _currency(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Z]{3}", value):
        msg = f"{value!r} is no currency; write its three letters, such as EUR"
        raise ValueError(msg)
    return value


def _zone(value: object) -> ZoneInfo:
    try:
        return ZoneInfo(str(value))
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder, or too long for a file
        msg = f"there is no time zone {value!r}; write one such as 'UTC' or 'Europe/Berlin'"
        raise ValueError(msg) from None


def _idle(value: object) -> timedelta | None:
    return None if value == "never" else parse_duration(value)


def _hours(value: object) -> WakingHours:
    return parse_waking_hours(str(value))


def host_of(name: str, url: str) -> str:
    """The host of an address of http or https.

    Raises:
        ValueError: it is none.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.scheme in ("http", "https") and parts.port != 0 else None
    except ValueError:  # brackets, or a port, that are none
        host = None
    if not host:
        msg = f"{name} is no address of http or https"
        raise ValueError(msg)
    return host


def check_address(name: str, url: str) -> None:
    """Whether a secret may be sent to `url`: by TLS, or without it to this machine alone.

    Raises:
        ValueError: it may not.
    """
    host = host_of(name, url)
    if url.lower().startswith("https:"):
        return
    try:
        is_here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_here = host == "localhost"
    if not is_here:
        msg = f"{name} would send a secret over the network in the clear; write https://"
        raise ValueError(msg)


def listed(value: object) -> object:
    """One value as a list of it."""
    return (value,) if isinstance(value, str) else value


def only_one_of(section: BaseModel, *names: str) -> None:
    """Check that a section names its secret in one way.

    Raises:
        ValueError: in none, or in several.
    """
    if sum(getattr(section, name) is not None for name in names) != 1:
        msg = f"give either {', '.join(names[:-1])} or {names[-1]}"
        raise ValueError(msg)


def _reachable(path: Path) -> Path:
    try:
        path.expanduser()
    except RuntimeError:
        msg = f"{path} begins in the home of a user who is not known here"
        raise ValueError(msg) from None
    return path


HomePath = Annotated[Path, AfterValidator(_reachable)]
Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Idle = Annotated[timedelta | None, BeforeValidator(_idle)]
Hours = Annotated[WakingHours, BeforeValidator(_hours)]
Amount = Annotated[int, BeforeValidator(_usd)]
Currency = Annotated[str, BeforeValidator(_currency)]
Zone = Annotated[ZoneInfo, BeforeValidator(_zone)]
Credential = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
"""The name of a systemd credential: a file of `$CREDENTIALS_DIRECTORY`."""
