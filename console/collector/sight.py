"""What is known of an operation at one look: plain values, so that what follows from them is tested by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

ACCEPTED, REFUSED, AMBIGUOUS, UNSENT, NO_CAPACITY = "accepted", "refused", "ambiguous", "unsent", "no_capacity"
APPLIED, NOT_APPLIED = "applied", "not_applied"
"""What a provider answered, and how an attempt came out by the state that was read."""


@dataclass(frozen=True, slots=True)
class Target:
    """An instance of the tier, as read at `read_at`. `seen`: its raw state when the operation was asked for."""

    id: str
    state: str
    raw_state: str
    seen: str
    is_able: bool
    read_at: datetime


@dataclass(frozen=True, slots=True)
class Call:
    """A provider call of this operation, as stored."""

    n: int
    resource_id: str
    seen: str
    sent_at: datetime
    answer: str = ""
    detail: str = ""
    moved_at: datetime | None = None
    ended: str = ""
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AgentSight:
    """An agent at one look; `problem` while it does not answer. None: not asked in this phase, or not known."""

    in_flight: int | None = None
    problem: str | None = None
    is_reachable: bool | None = None
    is_loaded: bool | None = None
    is_leased: bool = False
    is_probed: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """How long each part may take.

    `not_applied`: unchanged for so long, a call has had no effect. `pause`: the first between two attempts.
    """

    drain: timedelta
    sleep: timedelta
    wake: timedelta
    not_applied: timedelta
    pause: timedelta


@dataclass(frozen=True, slots=True)
class Sight:
    """Everything that is known at one look.

    `closed`: why a wake must end now. `shut`: why the gate is closed, so that a wake may send nothing more;
    `is_only_reserved`: it is `reserved`, and nothing else. `rest`: for how long a bill must rest before sleep is
    believed.
    """

    now: datetime
    kind: str
    phase: str
    phase_at: datetime
    requested_at: datetime
    targets: Sequence[Target]
    calls: Sequence[Call]
    agents: Mapping[str, AgentSight]
    limits: Limits
    rest: timedelta = timedelta(0)
    readings: int = 0
    closed: str | None = None
    shut: str | None = None
    is_only_reserved: bool = False
    by_ssh: bool = False
    is_at_rest: bool | None = None
    is_doubted: bool = False
    is_clock_doubted: bool = False

    @property
    def waited(self) -> timedelta:
        """Since the phase was entered."""
        return self.now - self.phase_at
