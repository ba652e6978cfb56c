"""A tier's state with a sign before it, so that it is told apart without colour."""

from console.tui.cells import Role
from store.fleet_view import TierView
from store.phases import OperationKind, Phase

_TEXTS = {
    "serving": "● serving",
    "running": "◐ running",
    "waking": "▲ waking",
    "sleeping": "▼ sleeping",
    "asleep": "○ asleep",
    "starting": "▲ starting",
    "halted_billed": "! halted",  # billed in full
    "error": "! error",
    "gone": "× gone",
    "unknown": "— unknown",
}
_PHASES: dict[str, str] = {
    Phase.REQUESTED: "asked",
    Phase.REACHABLE: "reached",
    Phase.ANSWERING: "answers",
    Phase.FIRST_TOKEN: "token",
}
"""What is too long for a column of eight letters."""
_SIGNS = {OperationKind.HIBERNATE: "▼", OperationKind.WAKE: "▲"}
_ROLES = {
    "asleep": Role.MUTED,
    "halted_billed": Role.BAD,
    "error": Role.BAD,
    "gone": Role.BAD,
    "unknown": Role.WARN,
}


def state_text(state: str) -> str:
    """The state as people read it."""
    return _TEXTS.get(state, state)


def tier_text(tier: TierView) -> str:
    """A tier's state, or the phase of what is under way with it."""
    if tier.operation is None:
        return state_text(tier.state)
    return f"{_SIGNS[OperationKind(tier.operation.kind)]} {_PHASES.get(tier.operation.phase, tier.operation.phase)}"


def state_role(state: str) -> Role:
    """How much it asks for attention."""
    return _ROLES.get(state, Role.PLAIN)
