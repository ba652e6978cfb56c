"""One thing that `mtok doctor` looked at: a line, how it stands, and what to do."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from store.errors import MtokError, SettingsError


class Level(StrEnum):
    """How a thing stands. `WARN`: it works, and will not for ever or not for everybody."""

    OK = "ok"
    WARN = "WARN"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at and found; `remedy` is empty where none is needed."""

    what: str
    level: Level
    detail: str
    remedy: str = ""

    @property
    def line(self) -> str:
        """`ok     what: detail; remedy`: one line, whatever a provider or a host has said."""
        text = f"{self.level:<6} {self.what}: {self.detail}" + (f"; {self.remedy}" if self.remedy else "")
        return "".join(char if char.isprintable() else "?" for char in " ".join(text.split(" ")))


def fine(what: str, detail: str) -> Check:
    """A thing that is as it should be."""
    return Check(what, Level.OK, detail)


def warned(what: str, detail: str, remedy: str) -> Check:
    """A thing that works, and not for ever or not for everybody."""
    return Check(what, Level.WARN, detail, remedy)


def failed(what: str, detail: str, remedy: str) -> Check:
    """A thing that does not work."""
    return Check(what, Level.FAILED, detail, remedy)


def refused(what: str, error: MtokError) -> Check:
    """What an error says of a thing: its problem and its own remedy."""
    problem, remedy = getattr(error, "problem", None), getattr(error, "remedy", None)
    if problem is None or remedy is None:
        return failed(what, str(error), "")
    where = f"{error.where}: " if isinstance(error, SettingsError) and error.where != what else ""
    return failed(what, f"{where}{problem}", remedy)


def looked(what: str, look: Callable[[], str]) -> Check:
    """A thing that is fine, with what `look` says of it, unless `look` raises one of our errors."""
    try:
        return fine(what, look())
    except MtokError as error:
        return refused(what, error)
