"""The gate: what allows serving. A pure function of what is known, and closed when too little is.

closed because   when                                                     opens again
unobserved       no complete billing tick, ever                           at the first
dark             the last one is older than `dark_after`                  after two complete ticks in a row
frozen           a running instance's bill stands still                   when it moves, or the instance sleeps
unsettled        today's debits are not known                             when they are
reserved         debits and headroom reach the limit, debits do not       after two complete ticks below it
exhausted        debits today reach the limit                             the next day, or by a reset
manual           an engineer closed it                                    when an engineer opens it

A tier with a limit of its own is `reserved` or `exhausted` alone; every other reason closes the whole fleet, a
limit in another currency too. By `[budget] scope = "provider"`, one that is dark or frozen closes its tiers alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from store.headroom import SLOPE_OVER, Horizon, Term
from store.money import USD, display
from store.unknown import UNOBSERVED, Unknown
from store.window import day_start

_CLOCK_BEHIND = timedelta(seconds=30)  # a tick from the future: this clock has been set back
_CLOCK_IS_BEHIND = Unknown("the clock is behind the last tick")
_HORIZON = Horizon(tick=timedelta(seconds=60), drain=timedelta(seconds=120), sleep=timedelta(minutes=5))
TICKS_TO_OPEN = 2  # one good answer may be luck; two in a row are a service
FLEET = ""
"""The scope of the whole account; every other is a tier's name, a currency's code, or `provider_scope`."""


def provider_scope(provider: str) -> str:
    """The scope of a provider; no tier's name and no currency's code has a space."""
    return f"provider {provider}"


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
    """What the settings say. `limit_nusd` a day in `zone`, for the whole account's dollars.

    Beside it `currency_limits_nusd`, each for what is billed in it, and `tier_limits_nusd`, in `tier_currencies` or
    else dollars. `provider_of`, by tier, is there where each provider's sight is its own tiers' alone.
    """

    limit_nusd: int
    zone: ZoneInfo
    dark_after: timedelta
    tier_limits_nusd: Mapping[str, int] = field(default_factory=dict)
    currency_limits_nusd: Mapping[str, int] = field(default_factory=dict)
    tier_currencies: Mapping[str, str] = field(default_factory=dict)
    provider_of: Mapping[str, str] = field(default_factory=dict)
    horizon: Horizon = _HORIZON
    frozen_after: timedelta = SLOPE_OVER
    dark_hibernate_after: timedelta = timedelta(minutes=15)
    hibernates: bool = True
    wake: timedelta = timedelta(minutes=10)
    wake_warn_after: timedelta = timedelta(minutes=8)


@dataclass(frozen=True, slots=True)
class ScopeFacts:
    """The money of one scope today. `ticks_below`: complete ticks since its bound is below the limit.

    `undecided_nusd`: the part of the headroom that is billed already, in bills that have fallen a moment ago.
    `assumed_nusd`: debits that the gate goes on by until a day's first complete tick, while they are not known.
    """

    debits_nusd: int | Unknown = 0
    headroom_nusd: int | Unknown = 0
    allowances_nusd: int = 0
    ticks_below: int = 0
    undecided_nusd: int = 0
    assumed_nusd: int | None = None

    @property
    def counted_nusd(self) -> int | Unknown:
        """Debits as the gate decides by them; what is shown are `debits_nusd`."""
        return self.debits_nusd if self.assumed_nusd is None else self.assumed_nusd

    @property
    def bound_nusd(self) -> int | Unknown:
        """The upper bound of today: debits and headroom."""
        counted = self.counted_nusd
        if isinstance(counted, Unknown) or isinstance(self.headroom_nusd, Unknown):
            return counted if isinstance(counted, Unknown) else self.headroom_nusd
        return counted + self.headroom_nusd


@dataclass(frozen=True, slots=True)
class Sight:
    """How well the bills are seen. `complete_in_row`: complete billing ticks up to the newest, without a pause.

    `previous_complete_at` is the complete tick before the last one: a dark time that nobody was there to record
    shows as the pause between the two. `frozen` names counters.
    """

    last_complete_at: datetime | None
    previous_complete_at: datetime | None
    complete_in_row: int
    frozen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GateFacts:
    """What is known at `now`: the sight of every provider together, and the money of every scope.

    `closed_by`: who closed it by hand and why. `providers`: each one's own sight, where it closes its tiers alone;
    the sight of all is then that of the provider that answers best.
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
    currencies: Mapping[str, ScopeFacts] = field(default_factory=dict)
    providers: Mapping[str, Sight] = field(default_factory=dict)

    @property
    def sight(self) -> Sight:
        """Of every provider together; what stands still at one that has a sight of its own is its tiers' alone."""
        frozen = () if self.providers else self.frozen
        return Sight(self.last_complete_at, self.previous_complete_at, self.complete_in_row, frozen)

    @property
    def seen_at(self) -> datetime | None:
        """When some bill was last read whole, though another provider's may never have been."""
        known = [one.last_complete_at for one in self.providers.values() if one.last_complete_at is not None]
        return self.last_complete_at or max(known, default=None)

    @property
    def unseen(self) -> Unknown | None:
        """Why no money of today is known, whatever adds up; None where it is."""
        if self.last_complete_at is None:
            return UNOBSERVED
        return _CLOCK_IS_BEHIND if _is_ahead(self.last_complete_at, self.now) else None

    @property
    def debits_today_nusd(self) -> int | Unknown:
        """Of the whole account."""
        return self.seen(self.fleet).debits_nusd

    def seen(self, scope: ScopeFacts) -> ScopeFacts:
        """A scope's money as far as it has been seen: what nobody has looked at is not known to be zero."""
        unseen = self.unseen
        if unseen is None:
            return scope
        return replace(scope, debits_nusd=unseen, headroom_nusd=unseen, assumed_nusd=None)


@dataclass(frozen=True, slots=True)
class ScopeVerdict:
    """What one scope's money says, as far as it is seen. `is_below`: its bound is under its limit now."""

    reasons: tuple[Reason, ...]
    facts: ScopeFacts
    limit_nusd: int
    is_below: bool
    currency: str = USD

    @property
    def is_spent(self) -> bool:
        """Whether its limit is spent, or is unless a bill's fall of a moment ago was jitter."""
        debits = self.facts.counted_nusd
        is_billed = isinstance(debits, int) and debits + self.facts.undecided_nusd >= self.limit_nusd
        return Reason.EXHAUSTED in self.reasons or is_billed


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision, every reason for it, and the facts that it was made from.

    `reasons` close the whole fleet; `own` are those among them that are no other currency's. `blind`: by provider,
    why its tiers are closed; `provider_of`: whose tiers they are.
    """

    is_open: bool
    reasons: tuple[Reason, ...]
    facts: GateFacts
    fleet: ScopeVerdict
    tiers: Mapping[str, ScopeVerdict] = field(default_factory=dict)
    currencies: Mapping[str, ScopeVerdict] = field(default_factory=dict)
    own: tuple[Reason, ...] = ()
    blind: Mapping[str, tuple[Reason, ...]] = field(default_factory=dict)
    provider_of: Mapping[str, str] = field(default_factory=dict)

    @property
    def limit_nusd(self) -> int:
        """Today's limit of the whole account's dollars, with its allowances."""
        return self.fleet.limit_nusd

    @property
    def sentence(self) -> str:
        """Why it is closed and what opens it, for a person."""
        said = [_sentence(reason, self) for reason in self.own]
        for scope in self.currencies.values():
            said += [_of_money(reason, scope) for reason in scope.reasons if reason in self.reasons]
        return "; ".join(said) or "open"

    @property
    def closings(self) -> list[tuple[str, Reason, str]]:
        """Whom each reason closes, everybody where the name is empty; the reason; why, and what opens it."""
        scopes = {name: scope for name, scope in self.currencies.items() if scope.reasons}
        return [
            *(("", reason, _sentence(reason, self)) for reason in self.own),
            *((name, reason, _of_money(reason, one)) for name, one in scopes.items() for reason in one.reasons),
            *((name, reason, self.sentence_of(name)) for name, some in self.blind.items() for reason in some),
            *((tier, reason, _of_money(reason, one)) for tier, one in self.tiers.items() for reason in one.reasons),
        ]

    def reasons_besides(self, *reasons: Reason) -> tuple[Reason, ...]:
        """What keeps the gate closed all the same once these are gone."""
        return tuple(reason for reason in self.reasons if reason not in reasons)

    def reasons_for(self, tier: str) -> tuple[Reason, ...]:
        """Why `tier` may not serve: the fleet's reasons, its provider's, and its own."""
        own = self.tiers[tier].reasons if tier in self.tiers else ()
        return tuple(dict.fromkeys((*self.reasons, *self.blind.get(self.provider_of.get(tier, ""), ()), *own)))

    def sentence_for(self, tier: str) -> str:
        """Why `tier` may not serve, for a person."""
        said = [self.sentence] if self.reasons else []
        provider, scope = self.provider_of.get(tier, ""), self.tiers.get(tier)
        if self.blind.get(provider):
            said.append(self.sentence_of(provider))
        said += [_of_money(reason, scope, f"{tier}: ") for reason in scope.reasons] if scope else []
        return "; ".join(said) or "open"

    def sentence_of(self, provider: str) -> str:
        """Why the tiers of `provider` may not serve, for a person."""
        sight, reasons = self.facts.providers[provider], self.blind.get(provider, ())
        return "; ".join(f"{provider}: {_of_sight(reason, sight, self.facts.now)}" for reason in reasons) or "open"

    def sight_of(self, tier: str) -> Sight:
        """How well the bills that `tier` depends on are seen."""
        return self.facts.providers.get(self.provider_of.get(tier, ""), self.facts.sight)

    def money_of(self, scope: str) -> ScopeVerdict:
        """What the money of a scope says: the account's dollars', a tier's or a currency's with a limit of its own.

        Raises:
            KeyError: no such scope has a limit.
        """
        return self.fleet if scope == FLEET else {**self.tiers, **self.currencies}[scope]

    def currency_of(self, scope: str) -> str:
        """What the limit of a scope is in; dollars where it has none of its own."""
        known = {**self.tiers, **self.currencies}.get(scope)
        return USD if known is None else known.currency

    @property
    def by_scope(self) -> Mapping[str, tuple[Reason, ...]]:
        """Every scope's reasons: what the store remembers of a verdict."""
        return {
            FLEET: self.own,
            **{name: scope.reasons for name, scope in {**self.tiers, **self.currencies}.items()},
            **{provider_scope(name): reasons for name, reasons in self.blind.items()},
        }


Before = Mapping[str, Sequence[Reason]]
"""The reasons of the verdict before, by scope."""


def decide(policy: GatePolicy, facts: GateFacts, before: Before) -> Verdict:
    """The verdict at `facts.now`; `before` are the reasons of the verdict before it."""

    def money(scope: str, limit_nusd: int, known: ScopeFacts, currency: str) -> ScopeVerdict:
        said = _money(limit_nusd, known, before.get(scope, ()), _is_new_day(policy, facts), currency)
        return replace(said, facts=facts.seen(known))

    fleet = money(FLEET, policy.limit_nusd, facts.fleet, USD)
    currencies = {
        name: money(name, limit, facts.currencies.get(name, ScopeFacts()), name)
        for name, limit in policy.currency_limits_nusd.items()
    }
    tiers = {
        name: money(name, limit, facts.tiers.get(name, ScopeFacts()), policy.tier_currencies.get(name, USD))
        for name, limit in policy.tier_limits_nusd.items()
    }
    blind = {
        name: _blind(policy, facts.now, sight, before.get(provider_scope(name), ()))
        for name, sight in facts.providers.items()
    }
    manual = [Reason.MANUAL] if facts.closed_by is not None else []
    is_seen = facts.seen_at is not None  # what is seen to be spent is, whatever is not seen comes on top
    money_of_all = [scope.reasons for scope in (fleet, *currencies.values()) if is_seen]
    sight = _blind(policy, facts.now, facts.sight, before.get(FLEET, ()))
    own = (*sight, *(fleet.reasons if is_seen else ()), *manual)
    reasons = tuple(dict.fromkeys((*sight, *(reason for some in money_of_all for reason in some), *manual)))
    return Verdict(not reasons, reasons, facts, fleet, tiers, currencies, own, blind, policy.provider_of)


def _blind(policy: GatePolicy, now: datetime, sight: Sight, was: Sequence[Reason]) -> tuple[Reason, ...]:
    """Why the bills are not seen well enough."""
    frozen = (Reason.FROZEN,) if sight.frozen else ()
    if sight.last_complete_at is None:
        return (Reason.UNOBSERVED, *frozen)
    return (Reason.DARK, *frozen) if _is_dark(policy, now, sight, was) else frozen


def _is_dark(policy: GatePolicy, now: datetime, sight: Sight, was: Sequence[Reason]) -> bool:
    last, previous = sight.last_complete_at, sight.previous_complete_at
    assert last is not None
    if now - last > policy.dark_after or _is_ahead(last, now):
        return True
    was_dark = Reason.DARK in was or (previous is not None and last - previous > policy.dark_after)
    return was_dark and sight.complete_in_row < TICKS_TO_OPEN


def _is_ahead(last: datetime, now: datetime) -> bool:
    """Whether a tick is of a time that this machine's clock has yet to reach."""
    return last - now > _CLOCK_BEHIND


def _is_new_day(policy: GatePolicy, facts: GateFacts) -> bool:
    """Whether the present day has been seen: a new one begins with a complete tick in it, not with a clock."""
    last = facts.seen_at
    return last is not None and last >= day_start(facts.now, policy.zone)


def _money(
    limit_nusd: int, facts: ScopeFacts, was: Sequence[Reason], is_new_day: bool, currency: str
) -> ScopeVerdict:
    limit_nusd += facts.allowances_nusd
    debits, bound = facts.counted_nusd, facts.bound_nusd
    is_below = isinstance(bound, int) and bound < limit_nusd
    reasons: tuple[Reason, ...] = ()
    if isinstance(debits, Unknown):
        reasons = (Reason.UNSETTLED,)
    elif debits >= limit_nusd or (Reason.EXHAUSTED in was and not is_new_day):
        reasons = (Reason.EXHAUSTED,)
    elif not is_below or (Reason.RESERVED in was and facts.ticks_below < TICKS_TO_OPEN):
        reasons = (Reason.RESERVED,)
    return ScopeVerdict(reasons, facts, limit_nusd, is_below, currency)


def _sentence(reason: Reason, verdict: Verdict) -> str:
    facts = verdict.facts
    if reason is Reason.MANUAL:
        return f"closed by {facts.closed_by}; opens by mtok gate open"
    if reason in (Reason.UNOBSERVED, Reason.DARK, Reason.FROZEN):
        return _of_sight(reason, facts.sight, facts.now)
    return _of_money(reason, verdict.fleet)


def _of_sight(reason: Reason, sight: Sight, now: datetime) -> str:
    if reason is Reason.UNOBSERVED:
        return "no complete billing tick yet; opens at the first"
    if reason is Reason.DARK:
        age_s = (now - sight.last_complete_at).total_seconds() if sight.last_complete_at else 0
        if sight.last_complete_at and _is_ahead(sight.last_complete_at, now):
            behind = f"this machine's clock is {-age_s:.0f} s behind the last complete tick: check the clock"
            return f"{behind}; opens after two complete ticks later than that one"
        return f"last complete billing tick {max(age_s, 0):.0f} s ago; opens after two complete ticks"
    if len(sight.frozen) == 1:
        return f"{sight.frozen[0]} stands still while its instance runs; opens when it moves or sleeps"
    return f"{', '.join(sight.frozen)} stand still while their instances run; opens when they move or sleep"


def _of_money(reason: Reason, scope: ScopeVerdict, head: str = "") -> str:
    facts, limit = scope.facts, display(scope.limit_nusd, scope.currency)
    debits, is_assumed = facts.debits_nusd, facts.assumed_nusd is not None
    if isinstance(debits, Unknown) and not is_assumed:
        if reason is Reason.EXHAUSTED:  # decided by what there was, whatever else there may be
            return f"{head}the limit of {limit} has been reached; opens tomorrow, or by a reset"
        return f"{head}spend today is not known ({debits.reason}); opens when it is"
    spent = f"— ({debits.reason})" if isinstance(debits, Unknown) else display(debits, scope.currency)
    if reason is Reason.EXHAUSTED and is_assumed:
        return f"{head}the limit was reached before today, which has had no complete tick; opens at the first"
    if reason is Reason.EXHAUSTED:
        return f"{head}{spent} of {limit} spent today; opens tomorrow, or by a reset"
    if isinstance(facts.headroom_nusd, Unknown):
        return f"{head}what is not billed yet has no bound ({facts.headroom_nusd.reason}); opens when it has"
    room = display(facts.headroom_nusd, scope.currency)
    return f"{head}{spent} spent and up to {room} not billed yet, of {limit}; opens after two ticks below"
