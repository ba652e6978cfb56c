"""The closed lists of words that stores, screens and adapters share."""

from enum import StrEnum

UNASSIGNED = "unassigned"
"""The tier of every billed resource that no tier names."""

IGNORED = "ignored"
"""The tier of resources that the settings take out, each with a reason: shown, in no total and not in the gate."""


SERVING = "serving"
"""A tier's state beyond those of its instances: an agent answers, with an open lease."""


class ResourceKind(StrEnum):
    """What a provider bills."""

    INSTANCE = "instance"
    VOLUME = "volume"
    OTHER = "other"


class State(StrEnum):
    """What a resource is doing, in one vocabulary over all providers."""

    STARTING = "starting"
    RUNNING = "running"
    SLEEPING = "sleeping"
    ASLEEP = "asleep"
    WAKING = "waking"
    HALTED_BILLED = "halted_billed"
    ERROR = "error"
    GONE = "gone"
    UNKNOWN = "unknown"


class Market(StrEnum):
    """How a tier's capacity is bought."""

    SPOT = "spot"
    ON_DEMAND = "on-demand"
    RESERVED = "reserved"
