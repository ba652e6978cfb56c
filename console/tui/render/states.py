"""A tier's state with a sign before it, so that it is told apart without colour."""

from console.tui.cells import Role

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


def state_role(state: str) -> Role:
    """How much it asks for attention."""
    return _ROLES.get(state, Role.PLAIN)
