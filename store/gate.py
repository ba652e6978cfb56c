"""The gate: what allows serving. A pure function of what is known, and closed when too little is.

closed because   when                                           opens again
unobserved       no complete billing tick, ever                 at the first
dark             the last one is older than `dark_after`        after two complete ticks in a row
exhausted        debits today ≥ limit + allowances              the next day, or by a reset
unsettled        today's debits are not known                   when they are
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from store.money import display_usd
from store.unknown import Unknown

_CLOCK_BEHIND = timedelta(seconds=30)  # a tick from the future: this clock has been set back
TICKS_OUT_OF_THE_DARK = 2  # one good answer may be luck; two in a row are a service


class Reason(StrEnum):
    """Why the gate is closed."""

    UNOBSERVED = "unobserved"
    DARK = "dark"
    EXHAUSTED = "exhausted"
    UNSETTLED = "unsettled"


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """What the settings say. `limit_nusd` a day in `zone`."""

    limit_nusd: int
    zone: ZoneInfo
    dark_after: timedelta


@dataclass(frozen=True, slots=True)
class GateFacts:
    """What is known at `now`. `complete_in_row`: complete billing ticks up to the newest, without a pause.

    `previous_complete_at` is the complete tick before the last one: a dark time that nobody was there to record
    shows as the pause between the two.
    """

    now: datetime
    last_complete_at: datetime | None
    previous_complete_at: datetime | None
    complete_in_row: int
    debits_today_nusd: int | Unknown
    allowances_nusd: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision, every reason for it, and the facts that it was made from."""

    is_open: bool
    reasons: tuple[Reason, ...]
    facts: GateFacts
    limit_nusd: int

    @property
    def sentence(self) -> str:
        """Why it is closed and what opens it, for a person."""
        return "; ".join(_sentence(reason, self) for reason in self.reasons) or "open"


def decide(policy: GatePolicy, facts: GateFacts, before: Sequence[Reason]) -> Verdict:
    """The verdict at `facts.now`; `before` are the reasons of the verdict before it."""
    reasons: list[Reason] = []
    if facts.last_complete_at is None:
        reasons.append(Reason.UNOBSERVED)
    elif _is_dark(policy, facts, before):
        reasons.append(Reason.DARK)
    limit_nusd = policy.limit_nusd + facts.allowances_nusd
    if isinstance(facts.debits_today_nusd, Unknown):
        if facts.last_complete_at is not None:
            reasons.append(Reason.UNSETTLED)
    elif facts.debits_today_nusd >= limit_nusd:
        reasons.append(Reason.EXHAUSTED)
    return Verdict(not reasons, tuple(reasons), facts, limit_nusd)


def _is_dark(policy: GatePolicy, facts: GateFacts, before: Sequence[Reason]) -> bool:
    last, previous = facts.last_complete_at, facts.previous_complete_at
    assert last is not None
    if facts.now - last > policy.dark_after or last - facts.now > _CLOCK_BEHIND:
        return True
    was_dark = Reason.DARK in before or (previous is not None and last - previous > policy.dark_after)
    return was_dark and facts.complete_in_row < TICKS_OUT_OF_THE_DARK


def why_no_reset(verdict: Verdict) -> str | None:
    """Why a reset is refused now, or None: money can be added, sight cannot."""
    blind = [reason for reason in verdict.reasons if reason is not Reason.EXHAUSTED]
    if blind:
        return f"the gate is {' and '.join(blind)}: {verdict.sentence}"
    if verdict.is_open:
        return "the gate is open"
    return None


def _sentence(reason: Reason, verdict: Verdict) -> str:
    facts = verdict.facts
    if reason is Reason.UNOBSERVED:
        return "no complete billing tick yet; opens at the first"
    if reason is Reason.DARK:
        age_s = (facts.now - facts.last_complete_at).total_seconds() if facts.last_complete_at else 0
        return f"last complete billing tick {age_s:.0f} s ago; opens after two complete ticks"
    if reason is Reason.UNSETTLED:
        assert isinstance(facts.debits_today_nusd, Unknown)
        return f"spend today is not known ({facts.debits_today_nusd.reason})"
    assert isinstance(facts.debits_today_nusd, int)
    return (
        f"{display_usd(facts.debits_today_nusd)} of {display_usd(verdict.limit_nusd)} spent today; "
        "opens tomorrow, or by a reset"
    )
