"""The gate: what allows serving. A pure function of what is known, and closed when too little is.

closed because   when                                                     opens again
unobserved       no complete billing tick, ever                           at the first
dark             the last one is older than `dark_after`                  after two complete ticks in a row
frozen           a running instance's bill stands still                   when it moves, or the instance sleeps
unsettled        today's debits are not known                             when they are
reserved         debits and headroom reach the limit, debits do not       after two complete ticks below it
exhausted        debits today reach the limit                             the next day, or by a reset
manual           an engineer closed it                                    when an engineer opens it

A tier with a limit of its own is `reserved` or `exhausted` alone; every other reason closes the whole fleet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from store.headroom import SLOPE_OVER, Horizon, Term
from store.money import display_usd
from store.unknown import Unknown
from store.window import day_start

_CLOCK_BEHIND = timedelta(seconds=30)  # a tick from the future: this clock has been set back
_HORIZON = Horizon(tick=timedelta(seconds=60), drain=timedelta(seconds=120), sleep=timedelta(minutes=5))
TICKS_TO_OPEN = 2  # one good answer may be luck; two in a row are a service
FLEET = ""
"""The scope of the whole account; every other scope is a tier's name."""


class Reason(StrEnum):
    """Why the gate is closed."""

    UNOBSERVED = "unobserved"
    DARK = "dark"
    FROZEN = "frozen"
    UNSETTLED = "unsettled"
    RESERVED = "reserved"
    EXHAUSTED = "exhausted"
    MANUAL = "manual"


BLIND = frozenset({Reason.UNOBSERVED, Reason.DARK, Reason.FROZEN, Reason.UNSETTLED})


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """What the settings say. `limit_nusd` a day in `zone`, for the whole account; `tier_limits_nusd` beside it."""

    limit_nusd: int
    zone: ZoneInfo
    dark_after: timedelta
    tier_limits_nusd: Mapping[str, int] = field(default_factory=dict)
    horizon: Horizon = _HORIZON
    frozen_after: timedelta = SLOPE_OVER
    dark_hibernate_after: timedelta = timedelta(minutes=15)
    hibernates: bool = True
    wake: timedelta = timedelta(minutes=10)
    wake_warn_after: timedelta = timedelta(minutes=8)


@dataclass(frozen=True, slots=True)
class ScopeFacts:
    """The money of one scope today. `ticks_below`: complete ticks since its bound is below the limit."""

    debits_nusd: int | Unknown = 0
    headroom_nusd: int | Unknown = 0
    allowances_nusd: int = 0
    ticks_below: int = 0

    @property
    def bound_nusd(self) -> int | Unknown:
        """The upper bound of today: debits and headroom."""
        if isinstance(self.debits_nusd, Unknown):
            return self.debits_nusd
        if isinstance(self.headroom_nusd, Unknown):
            return self.headroom_nusd
        return self.debits_nusd + self.headroom_nusd


@dataclass(frozen=True, slots=True)
class GateFacts:
    """What is known at `now`. `complete_in_row`: complete billing ticks up to the newest, without a pause.

    `previous_complete_at` is the complete tick before the last one: a dark time that nobody was there to record
    shows as the pause between the two. `frozen` names counters, `closed_by` who closed it by hand and why.
    """

    now: datetime
    last_complete_at: datetime | None
    previous_complete_at: datetime | None
    complete_in_row: int
    fleet: ScopeFacts
    tiers: Mapping[str, ScopeFacts] = field(default_factory=dict)
    frozen: tuple[str, ...] = ()
    closed_by: str | None = None
    terms: tuple[Term, ...] = ()

    @property
    def debits_today_nusd(self) -> int | Unknown:
        """Of the whole account."""
        return self.fleet.debits_nusd


@dataclass(frozen=True, slots=True)
class ScopeVerdict:
    """What one scope's money says. `is_below`: its bound is under its limit now."""

    reasons: tuple[Reason, ...]
    facts: ScopeFacts
    limit_nusd: int
    is_below: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision, every reason for it, and the facts that it was made from."""

    is_open: bool
    reasons: tuple[Reason, ...]
    facts: GateFacts
    fleet: ScopeVerdict
    tiers: Mapping[str, ScopeVerdict] = field(default_factory=dict)

    @property
    def limit_nusd(self) -> int:
        """Today's limit of the whole account, with its allowances."""
        return self.fleet.limit_nusd

    @property
    def sentence(self) -> str:
        """Why it is closed and what opens it, for a person."""
        return "; ".join(_sentence(reason, self) for reason in self.reasons) or "open"

    def sentence_about(self, reason: Reason, tier: str | None = None) -> str:
        """Why one of the reasons, the fleet's or those of a tier's own limit, closes it and what opens it."""
        return _sentence(reason, self) if tier is None else _of_money(reason, self.tiers[tier])

    def reasons_for(self, tier: str) -> tuple[Reason, ...]:
        """Why `tier` may not serve: the fleet's reasons and its own."""
        own = self.tiers[tier].reasons if tier in self.tiers else ()
        return (*self.reasons, *(reason for reason in own if reason not in self.reasons))

    def sentence_for(self, tier: str) -> str:
        """Why `tier` may not serve, for a person."""
        scope = self.tiers.get(tier)
        own = [_of_money(reason, scope, f"{tier}: ") for reason in scope.reasons] if scope else []
        return "; ".join(([self.sentence] if self.reasons else []) + own) or "open"

    @property
    def by_scope(self) -> Mapping[str, tuple[Reason, ...]]:
        """Every scope's reasons: what the store remembers of a verdict."""
        return {FLEET: self.reasons, **{tier: scope.reasons for tier, scope in self.tiers.items()}}


Before = Mapping[str, Sequence[Reason]]
"""The reasons of the verdict before, by scope."""


def decide(policy: GatePolicy, facts: GateFacts, before: Before) -> Verdict:
    """The verdict at `facts.now`; `before` are the reasons of the verdict before it."""
    was = before.get(FLEET, ())
    blind: list[Reason] = []
    if facts.last_complete_at is None:
        blind.append(Reason.UNOBSERVED)
    elif _is_dark(policy, facts, was):
        blind.append(Reason.DARK)
    if facts.frozen:
        blind.append(Reason.FROZEN)
    fleet = _money(policy.limit_nusd, facts.fleet, was, _is_new_day(policy, facts))
    tiers = {
        tier: _money(limit, facts.tiers.get(tier, ScopeFacts()), before.get(tier, ()), _is_new_day(policy, facts))
        for tier, limit in policy.tier_limits_nusd.items()
    }
    manual = [Reason.MANUAL] if facts.closed_by is not None else []
    money = fleet.reasons if facts.last_complete_at is not None else ()
    reasons = (*blind, *money, *manual)
    return Verdict(not reasons, reasons, facts, fleet, tiers)


def _is_dark(policy: GatePolicy, facts: GateFacts, was: Sequence[Reason]) -> bool:
    last, previous = facts.last_complete_at, facts.previous_complete_at
    assert last is not None
    if facts.now - last > policy.dark_after or last - facts.now > _CLOCK_BEHIND:
        return True
    was_dark = Reason.DARK in was or (previous is not None and last - previous > policy.dark_after)
    return was_dark and facts.complete_in_row < TICKS_TO_OPEN


def _is_new_day(policy: GatePolicy, facts: GateFacts) -> bool:
    """Whether the present day has been seen: a new one begins with a complete tick in it, not with a clock."""
    last = facts.last_complete_at
    return last is not None and last >= day_start(facts.now, policy.zone)


def _money(limit_nusd: int, facts: ScopeFacts, was: Sequence[Reason], is_new_day: bool) -> ScopeVerdict:
    limit_nusd += facts.allowances_nusd
    debits, bound = facts.debits_nusd, facts.bound_nusd
    is_below = isinstance(bound, int) and bound < limit_nusd
    reasons: tuple[Reason, ...] = ()
    if isinstance(debits, Unknown):
        reasons = (Reason.UNSETTLED,)
    elif debits >= limit_nusd or (Reason.EXHAUSTED in was and not is_new_day):
        reasons = (Reason.EXHAUSTED,)
    elif not is_below or (Reason.RESERVED in was and facts.ticks_below < TICKS_TO_OPEN):
        reasons = (Reason.RESERVED,)
    return ScopeVerdict(reasons, facts, limit_nusd, is_below)


def why_no_reset(verdict: Verdict, tier: str | None = None) -> str | None:
    """Why a reset is refused now, or None: money can be added, sight cannot."""
    reasons = verdict.reasons if tier is None else verdict.reasons_for(tier)
    blind = [reason for reason in reasons if reason in BLIND]
    if blind:
        why = "; ".join(_sentence(reason, verdict) for reason in blind)
        return f"the gate is {' and '.join(blind)}: {why}"
    if Reason.EXHAUSTED not in reasons and Reason.RESERVED not in reasons:
        return "the gate is open" if not reasons else "it was closed by hand; mtok gate open"
    return None


def _sentence(reason: Reason, verdict: Verdict) -> str:
    facts = verdict.facts
    if reason is Reason.UNOBSERVED:
        return "no complete billing tick yet; opens at the first"
    if reason is Reason.DARK:
        age_s = (facts.now - facts.last_complete_at).total_seconds() if facts.last_complete_at else 0
        return f"last complete billing tick {age_s:.0f} s ago; opens after two complete ticks"
    if reason is Reason.FROZEN:
        return f"{', '.join(facts.frozen)} stands still while its instance runs; opens when it moves or sleeps"
    if reason is Reason.MANUAL:
        return f"closed by {facts.closed_by}; opens by mtok gate open"
    return _of_money(reason, verdict.fleet)


def _of_money(reason: Reason, scope: ScopeVerdict, head: str = "") -> str:
    facts, limit = scope.facts, display_usd(scope.limit_nusd)
    if isinstance(facts.debits_nusd, Unknown):
        return f"{head}spend today is not known ({facts.debits_nusd.reason}); opens when it is"
    spent = display_usd(facts.debits_nusd)
    if reason is Reason.EXHAUSTED:
        return f"{head}{spent} of {limit} spent today; opens tomorrow, or by a reset"
    if isinstance(facts.headroom_nusd, Unknown):
        return f"{head}what is not billed yet has no bound ({facts.headroom_nusd.reason}); opens when it has"
    room = display_usd(facts.headroom_nusd)
    return f"{head}{spent} spent and up to {room} not billed yet, of {limit}; opens after two ticks below"
