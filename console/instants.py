"""Instants as a command line gives them."""

from datetime import UTC, datetime

from store.errors import SettingsError

YEARS = range(1970, 9999)  # at the ends of Python's own, a day more or less or another zone is no instant


def instant_of(option: str, text: str | None) -> datetime:
    """The instant that an option gives.

    Raises:
        SettingsError: it is none, has no zone, or is not in `YEARS`.
    """
    try:
        instant = datetime.fromisoformat(text or "")
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise SettingsError(option, f"{text!r} is no instant", "write one such as 2026-11-24T08:00:00Z")
    if instant.year not in YEARS:
        raise SettingsError(option, f"{text!r} is out of reach", "write one such as 2026-11-24T08:00:00Z")
    return instant.astimezone(UTC)


def past_instant_of(option: str, text: str, now: datetime) -> datetime:
    """The past instant that an option gives.

    Raises:
        SettingsError: it is none, or is yet to come.
    """
    instant = instant_of(option, text)
    if instant > now:
        raise SettingsError(option, f"{text!r} is yet to come", "choose a past minute")
    return instant
