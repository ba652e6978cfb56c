"""The lease: a time-bounded permission to serve. Nothing else opens the agent.

Its time runs from when this agent issued the nonce that it echoes, by the monotonic clock: a delayed, replayed
or captured lease is worth nothing, and neither is one for an earlier life of this process.
"""

import secrets
from collections import OrderedDict
from dataclasses import dataclass

from store.clock import Clock

_NONCES = 64  # more than a collector asks for within the longest lease

_CODES = {
    "unobserved": "billing_unobservable",
    "dark": "billing_unobservable",
    "exhausted": "budget_exhausted",
    "reserved": "budget_exhausted",
    "frozen": "billing_unobservable",
    "unsettled": "billing_unobservable",
    "draining": "draining",
}


@dataclass(frozen=True, slots=True)
class Lease:
    """The lease in force."""

    seq: tuple[int, int]
    is_open: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Closed:
    """Why nothing is served now: the code of the error, and a sentence for a client's developer."""

    code: str
    message: str
    retry_after_s: int


class LeaseBook:
    """Issues nonces, takes leases, and answers whether serving is allowed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._issued: OrderedDict[str, float] = OrderedDict()
        self.lease: Lease | None = None
        self._taken_s = 0.0
        self._allowed_until_s = clock.monotonic_s()  # the end of what is open, or the moment of the last closing
        self._stops = False

    def stop(self) -> None:
        """This process ends: whatever the lease says, nothing new is served."""
        self._stops = True
        self._close()

    def issue_nonce(self) -> str:
        """A fresh nonce of this boot."""
        nonce = secrets.token_hex(16)
        self._issued[nonce] = self._clock.monotonic_s()
        while len(self._issued) > _NONCES:
            self._issued.popitem(last=False)
        return nonce

    def take(
        self, nonce: str, seq: tuple[int, int], *, is_open: bool, reasons: tuple[str, ...], ttl_s: float
    ) -> bool:
        """Put a lease in force; False for an unknown nonce or a `seq` that is not newer."""
        issued_s = self._issued.get(nonce)
        if issued_s is None or (self.lease is not None and seq <= self.lease.seq):
            return False
        self.lease = Lease(seq, is_open, reasons)
        self._taken_s = self._clock.monotonic_s()
        self._close()
        if is_open and not self._stops and issued_s + ttl_s > self._taken_s:
            self._allowed_until_s = issued_s + ttl_s
        return True

    def _close(self) -> None:
        self._allowed_until_s = min(self._allowed_until_s, self._clock.monotonic_s())

    @property
    def age_s(self) -> float | None:
        """Seconds since a lease was last taken."""
        return None if self.lease is None else self._clock.monotonic_s() - self._taken_s

    @property
    def left_s(self) -> float:
        """Seconds for which serving is still allowed; 0 without an open lease."""
        return max(self._allowed_until_s - self._clock.monotonic_s(), 0.0)

    @property
    def closed_for_s(self) -> float:
        """Seconds since serving was last allowed, or since the start where it never was; 0 while it is."""
        return max(self._clock.monotonic_s() - self._allowed_until_s, 0.0)

    def closed(self) -> Closed | None:
        """Why nothing is served now, or None."""
        if self._stops:
            return Closed("draining", "This server is stopping; try another one, or again shortly.", 5)
        if self.left_s > 0:
            return None
        lease = self.lease
        if lease is None or lease.is_open:
            word = "has no permission to serve yet" if lease is None else "has lost touch with its collector"
            return Closed("no_lease", f"This server {word}; try again shortly.", 5)
        codes = [_CODES.get(reason, "gate_closed") for reason in lease.reasons]
        code = "draining" if "draining" in codes else next(iter(codes), "gate_closed")
        return Closed(code, _MESSAGES[code], 60 if code == "budget_exhausted" else 10)


_MESSAGES = {
    "billing_unobservable": "Serving is paused: the provider's billing cannot be observed. Try again shortly.",
    "budget_exhausted": "Serving is paused: today's budget is spent.",
    "draining": "This server is going to sleep; try another one, or again later.",
    "gate_closed": "Serving is paused by its operators.",
}
