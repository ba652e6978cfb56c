"""What the collector asks of a cloud, whichever it is.

A bill is a counter reading, not an amount: its identity says which readings may be subtracted.
An adapter answers with a `Batch`: what is sound in `items`, the rest in `problems`; it is complete only
when every page was read and every row was understood. Actions are sent at most once.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, Literal, Protocol, TypeVar

from store.words import ResourceKind, State

Item = TypeVar("Item")


class Action(StrEnum):
    """What may be asked of an instance; nothing destructive."""

    SLEEP = "sleep"
    WAKE = "wake"


@dataclass(frozen=True, slots=True)
class Ref:
    """One resource of one provider."""

    kind: ResourceKind
    id: str


@dataclass(frozen=True, slots=True)
class SleepEffect:
    """What sleeping goes on billing, and what it loses: shown before anyone confirms it."""

    billed: Literal["full", "storage", "none", "unknown"]
    loses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resource:
    """An instance or a volume as the provider's inventory describes it.

    `raw_state` is the provider's own word; `address` is where its agent may be reached, if it has one.
    `may_sleep`: whether its kind of machine can sleep at all; `attached_to`: the instance that a volume is on.
    """

    ref: Ref
    name: str
    state: State
    raw_state: str
    spot_hint: bool = False
    address: str | None = None
    can: frozenset[Action] = frozenset()
    sleep: SleepEffect | None = None
    may_sleep: bool | None = None
    attached_to: str | None = None


@dataclass(frozen=True, slots=True)
class BillReading:
    """One bill counter, as the provider stated it at one instant, not stored yet.

    `counter` identifies the counter within the provider: readings of one `counter` may be subtracted.
    `raw` is the total exactly as the provider wrote it; `rate_nusd_per_hour` its price, shown only.
    `as_of` is the provider's own clock (its `Date` header). `final`: nothing more will be billed on it.

    A bucket, the counter of one charge period, has `ends_at`: it was zero at `started_at`. Only the newest bucket
    of a resource quotes a rate, and none is final before three of its steps after its end. `step`: how often such
    a bill moves, as documented; it is shown until it has been observed.
    """

    counter: str
    ref: Ref
    name: str
    raw: str
    total_nusd: int
    currency: str
    started_at: datetime | None
    as_of: datetime
    rate_nusd_per_hour: int | None
    active: bool
    final: bool = False
    excluded: bool = False
    ends_at: datetime | None = None
    step: timedelta | None = None


@dataclass(frozen=True, slots=True)
class WindowBilled:
    """What the provider says that a resource was billed inside a window. `raw`: its own text."""

    ref: Ref
    name: str
    raw: str
    nusd: int
    currency: str


@dataclass(frozen=True, slots=True)
class Batch(Generic[Item]):
    """What one question brought: the sound rows, and each problem in one line.

    `vanished`: what we know and the provider, answering soundly, lists neither as active nor as deleted.
    `clock_apart`: how far the provider's clock is from ours, where that spoils the answer. `has_clock`: whether the
    source has a clock of its own, which could vouch for ours; a folder of files has none.
    """

    items: tuple[Item, ...]
    problems: tuple[str, ...] = ()
    provider_now: datetime | None = None
    vanished: tuple[str, ...] = ()
    clock_apart: timedelta | None = None
    has_clock: bool = True

    @property
    def complete(self) -> bool:
        """Every page was read and every row understood."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the action on; the state will follow."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was done, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class NoCapacity:
    """The provider has nothing to wake it on now; nothing was done."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unsent:
    """The resource's state could not be read first, so the action was not sent."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """The action was sent and its answer is lost: read the state, never send again."""

    reason: str


Outcome = Accepted | Refused | NoCapacity | Unsent | Ambiguous
Permit = Callable[[], Awaitable[None]]
"""Asked right before an action is sent; what it raises keeps the action from being sent."""


async def permitted() -> None:
    """The permit of whoever needs none."""


class Provider(Protocol):
    """One account with one cloud. No method raises for what the provider says: see `Batch`, `Outcome`."""

    name: str

    async def inventory(self) -> Batch[Resource]:
        """Every instance and volume of the account."""
        ...

    async def bills(self, known: Collection[str]) -> Batch[BillReading]:
        """Every bill counter; `known` counters that are no longer listed are looked up among the deleted."""
        ...

    async def billed(self, start: datetime, end: datetime) -> Batch[WindowBilled]:
        """What every resource of any kind was billed in `[start, end)`, whole seconds."""
        ...

    async def billed_total(self, start: datetime, end: datetime) -> int | str:
        """What the whole account was billed in `[start, end)`, nano-dollars; or why that is not known."""
        ...

    async def act(self, ref: Ref, action: Action, *, seen: str, permit: Permit = permitted) -> Outcome:
        """Ask once, and only if the resource is still in `seen`, the raw state that a person saw."""
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...
