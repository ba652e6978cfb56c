"""What an operation may want done next."""

from dataclasses import dataclass

from console.collector.sight import Call, Target
from store.phases import OperationOutcome, Phase


@dataclass(frozen=True, slots=True)
class Enter:
    """Another phase is reached."""

    phase: Phase
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ReadLast:
    """Store the last usage reading before the hosts go."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the provider about one instance: one attempt."""

    target: Target


@dataclass(frozen=True, slots=True)
class Moved:
    """An instance was seen on its way: note when."""

    call: Call


@dataclass(frozen=True, slots=True)
class Judge:
    """The state has told how an attempt came out."""

    call: Call
    ended: str


@dataclass(frozen=True, slots=True)
class Lease:
    """Give the tier's agents their leases."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Let an agent generate its first token."""

    agent: str


@dataclass(frozen=True, slots=True)
class Doubt:
    """Asleep, and the bill goes on rising: an alarm, and one more wait."""


@dataclass(frozen=True, slots=True)
class End:
    """The operation is over."""

    outcome: OperationOutcome
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done now."""


Want = Enter | ReadLast | Ask | Moved | Judge | Lease | Probe | Doubt | End | Wait
