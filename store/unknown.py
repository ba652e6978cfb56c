"""Not knowing is a value: it has a reason, it is never zero, and it is no exception."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unknown:
    """A figure that cannot be given, and why.

    It has no truth value and no arithmetic, so that it can never be taken for zero.
    """

    reason: str

    def __bool__(self) -> bool:
        msg = f"an unknown figure ({self.reason}) is neither true nor false: use isinstance"
        raise TypeError(msg)


NOT_RECORDED = Unknown("not recorded")
"""What a past minute does not tell: the store keeps it of the present alone."""

UNOBSERVED = Unknown("no complete billing tick yet")
"""What was spent before anybody looked."""
