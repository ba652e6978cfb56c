"""What may be asked of a tier, and what an operation goes through until its outcome: words and times alone."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class OperationKind(StrEnum):
    """What may be asked of a tier."""

    HIBERNATE = "hibernate"
    WAKE = "wake"


class Phase(StrEnum):
    """What an operation has reached, in the order in which those of its kind are gone through."""

    REQUESTED = "requested"
    DRAINING = "draining"  # hibernate: no new requests, those in flight finish
    DRAINED = "drained"  # hibernate: nothing in flight, the last usage reading is stored
    PROVIDER = "provider"  # the provider is being asked
    ACCEPTED = "accepted"  # wake: it has taken the call on
    RUNNING = "running"  # wake: every instance runs
    REACHABLE = "reachable"  # wake: every host answers by SSH; left out where agents are reached directly
    ANSWERING = "answering"  # wake: every agent answers
    LOADED = "loaded"  # wake: every agent's weights are loaded
    LEASED = "leased"  # wake: every agent has an open lease
    FIRST_TOKEN = "first_token"  # noqa: S105 - wake: every agent has generated one
    ASLEEP = "asleep"  # hibernate: the provider says so
    SETTLED = "settled"  # hibernate: the bill is at rest
    DONE = "done"


PHASES = {
    OperationKind.HIBERNATE: (
        Phase.REQUESTED,
        Phase.DRAINING,
        Phase.DRAINED,
        Phase.PROVIDER,
        Phase.ASLEEP,
        Phase.SETTLED,
    ),
    OperationKind.WAKE: (
        Phase.REQUESTED,
        Phase.PROVIDER,
        Phase.ACCEPTED,
        Phase.RUNNING,
        Phase.REACHABLE,
        Phase.ANSWERING,
        Phase.LOADED,
        Phase.LEASED,
        Phase.FIRST_TOKEN,
    ),
}


WAKE_TIMEOUT, WAKE_FAILED = "wake_timeout", "wake_failed"
"""How the detail of a wake begins that has failed and may have left something up, which bills."""


class OperationOutcome(StrEnum):
    """How an operation ended."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Reached:
    """A phase, when it was reached, and how long after the one before it."""

    phase: Phase
    at: datetime
    took: timedelta
    detail: str = ""
