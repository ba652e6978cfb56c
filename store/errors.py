"""Every error that mtok raises on purpose.

    MtokError                    exit code 1
    ├── SettingsError            2   a settings file, a missing secret, a port in use
    ├── StoreError               4
    │   ├── StoreUnreachable         cannot be opened, locked, or gone
    │   ├── StoreVersion             made by a newer or by no mtok
    │   ├── FenceLost                another collector leads now
    │   ├── ClockBehind              a tick older than the newest one
    │   ├── DerivedRefused           a derived sample that does not fit its neighbours
    │   ├── CopyRefused              a store that cannot be copied into
    │   ├── BackupFailed             a backup that cannot be made, or is none
    │   ├── RestoreRefused           a store that may not be replaced now
    │   └── AmountError              a provider's amount that is no finite number
    ├── NothingRecorded          a past instant that no tick has seen
    ├── SettleRefused            a counter that cannot be settled so
    ├── console/errors.py        ProviderError (3) and what the console adds
    └── agent/errors.py          what the agent adds

A leaf holds fields and makes its message from them: what failed, which one, what to do.
"""

from datetime import datetime
from enum import IntEnum
from pathlib import Path

from store.clock import rfc3339


class ExitCode(IntEnum):
    """What a command tells the shell that called it."""

    OK = 0
    FAILED = 1
    USAGE = 2
    PROVIDER = 3
    STORE = 4
    UNKNOWN_FIGURE = 5
    INTERRUPTED = 130


class MtokError(Exception):
    """The root: one line for a person, and the exit code that a command ends with."""

    exit_code = ExitCode.FAILED


class SettingsError(MtokError):
    """A setting that cannot be used: where it stands, what is wrong, what to do."""

    exit_code = ExitCode.USAGE

    def __init__(self, where: str, problem: str, remedy: str) -> None:
        super().__init__(f"{where}: {problem}; {remedy}")
        self.where, self.problem, self.remedy = where, problem, remedy


class StoreError(MtokError):
    """The store cannot do what was asked of it."""

    exit_code = ExitCode.STORE


class StoreUnreachable(StoreError):
    """The store cannot be opened, or does not answer."""

    def __init__(
        self, url: str, reason: str, remedy: str = "check the path, its rights and the free space"
    ) -> None:
        super().__init__(f"store {url}: {reason}; {remedy}")
        self.url, self.reason = url, reason


class StoreVersion(StoreError):
    """The store was made by another version of mtok than this one can read."""

    def __init__(self, url: str, found: str, remedy: str = "upgrade mtok, or name another store") -> None:
        super().__init__(f"store {url}: its version {found!r} is unknown to this mtok; {remedy}")
        self.url, self.found = url, found


class FenceLost(StoreError):
    """Another collector has taken the lead: nothing was written."""

    def __init__(self, fence: int) -> None:
        super().__init__(f"leadership with fence {fence} is over; another collector leads")
        self.fence = fence


class ClockBehind(StoreError):
    """The collector's clock stands before the newest tick: what it would write could not be put in order."""

    def __init__(self, at: datetime, newest_at: datetime) -> None:
        super().__init__(
            f"tick of {at.isoformat()}: the newest is of {newest_at.isoformat()}; "
            "nothing was written; set this machine's clock"
        )
        self.at, self.newest_at = at, newest_at


class DerivedRefused(StoreError):
    """A derived sample that does not fit between its neighbours; nothing was written."""

    def __init__(self, counter: str, at: datetime, problem: str) -> None:
        super().__init__(f"{counter} at {at.isoformat()}: {problem}; the derived sample is not used")
        self.counter, self.at, self.problem = counter, at, problem


class CopyRefused(StoreError):
    """A history cannot be copied into a store; the store is as it was."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(f"copy to {url}: {problem}")
        self.url, self.problem = url, problem


class NothingRecorded(MtokError):
    """A past minute cannot be shown: no tick had come by then."""

    def __init__(self, at: datetime, first_at: datetime | None) -> None:
        first = (
            "this store holds no tick at all"
            if first_at is None
            else f"name an instant from {rfc3339(first_at)} on"
        )
        super().__init__(f"nothing is recorded before {rfc3339(first_at or at)}; {first}")
        self.at, self.first_at = at, first_at


class BackupFailed(StoreError):
    """A backup that cannot be made, or a file that is none; the store is as it was."""

    def __init__(self, path: Path, problem: str, remedy: str) -> None:
        super().__init__(f"backup {path}: {problem}; {remedy}")
        self.path, self.problem, self.remedy = path, problem, remedy


class RestoreRefused(StoreError):
    """A store that may not be replaced now; it is as it was."""

    def __init__(self, url: str, problem: str, remedy: str) -> None:
        super().__init__(f"restore to {url}: {problem}; {remedy}")
        self.url, self.problem, self.remedy = url, problem, remedy


class SettleRefused(MtokError):
    """A counter cannot be settled; nothing was changed."""

    def __init__(self, counter_id: int, problem: str) -> None:
        super().__init__(f"counter {counter_id}: {problem}; nothing was changed")
        self.counter_id, self.problem = counter_id, problem


class AmountError(StoreError):
    """A provider's amount that cannot be kept as nano-dollars."""

    def __init__(self, raw: str, problem: str) -> None:
        super().__init__(f"amount {raw[:40]!r}: {problem}; this reading is not used")
        self.raw, self.problem = raw, problem
