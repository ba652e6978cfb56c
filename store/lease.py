"""What an agent is given: a time-bounded permission to serve, or the word that it may not."""

from dataclasses import dataclass
from datetime import timedelta

from store.gate import GatePolicy, Verdict

DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class LeaseGrant:
    """The body of `PUT /control/lease`. `ttl_s` counts from when the agent issued `nonce`."""

    nonce: str
    seq: tuple[int, int]
    is_open: bool
    reasons: tuple[str, ...]
    ttl_s: float

    def body(self) -> dict[str, object]:
        """As JSON has it."""
        return {
            "nonce": self.nonce,
            "seq": list(self.seq),
            "verdict": "open" if self.is_open else "closed",
            "reasons": list(self.reasons),
            "ttl_s": self.ttl_s,
        }


def grant(
    policy: GatePolicy, verdict: Verdict, nonce: str, seq: tuple[int, int], tier: str, *, is_draining: bool
) -> LeaseGrant:
    """The lease that follows from `verdict` for an agent of `tier`.

    An open one lasts until the last complete tick is `dark_after` old, and never for longer than that from now:
    a clock that was set back must not lengthen it.
    """
    reasons = tuple(str(reason) for reason in verdict.reasons_for(tier)) + ((DRAINING,) if is_draining else ())
    last = verdict.sight_of(tier).last_complete_at
    left = last + policy.dark_after - verdict.facts.now if last else timedelta(0)
    ttl_s = min(max(left.total_seconds(), 0.0), policy.dark_after.total_seconds())
    return LeaseGrant(nonce, seq, not reasons, reasons, ttl_s)
