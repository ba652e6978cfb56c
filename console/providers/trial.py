"""What a simulator must be able to do so that its kind's adapter can be tried against it: faults on demand."""

from datetime import datetime
from enum import StrEnum
from typing import Protocol

from console.providers.protocol import Ref


class Fault(StrEnum):
    """What goes wrong, one at a time; the values are the words of `simulator_faults.Faults`."""

    SERVER_ERROR = "500"  # every call: that status, nothing done
    TOO_MANY = "429"  # every call: that status, as the provider words it, nothing done
    GARBAGE = "truncated"  # every body breaks off in its middle
    EMPTY = "empty"  # the bills answer soundly, and list nothing
    DROP = "drop"  # actions are done, and the connection closes without an answer
    CLOCK = "clock"  # every `Date` is a day off
    RATES = "rates"  # every quoted price per hour is a large nonsense; bills are as ever


class Trial(Protocol):
    """A simulator that runs, as the conformance suite sees it.

    Its world has at least one instance that runs and can sleep, and one volume if the kind bills volumes.
    """

    base_url: str
    key: str

    def fault(self, fault: Fault | None, times: int | None = None) -> None:
        """Begin a fault, `times` times or until changed; or end the one there is (`None`)."""
        ...

    def actions(self) -> int:
        """How many requests to sleep or to wake have arrived so far, whatever came of them."""
        ...

    def vanish(self, ref: Ref) -> None:
        """End a resource for good, as its owner would at the provider's own console."""
        ...

    def account_nusd(self, start: datetime, end: datetime) -> int:
        """What the simulator's own account says was billed in `[start, end)`, exactly: whole seconds."""
        ...
