"""Resets: money added to one limit for one day; when that makes sense, and whether the store can hold it."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from store.gate import BLIND, FLEET, Reason, Verdict
from store.money import MAX_NUSD, display_exact
from store.window import day_name

_BY_MONEY = frozenset({Reason.EXHAUSTED, Reason.RESERVED})


@dataclass(frozen=True, slots=True)
class DayLimit:
    """A limit of one day, with its allowances: what whoever adds to it has seen."""

    day: str
    limit_nusd: int
    currency: str

    def why_other(self, now: "DayLimit") -> str | None:
        """Why `now` is another one; None where it is the same."""
        if now.day != self.day:
            return f"{self.day} is over, and its limit with it"
        if now.limit_nusd == self.limit_nusd:
            return None
        limit, was = (display_exact(one.limit_nusd, self.currency) for one in (now, self))
        return f"today's limit is {limit} now, no longer {was}"

    def why_too_much(self, amount_nusd: int) -> str | None:
        """Why so much cannot be added: every sum of it has to be an integer that the store holds."""
        room_nusd = MAX_NUSD - self.limit_nusd
        if amount_nusd <= room_nusd:
            return None
        return f"at most {display_exact(room_nusd, self.currency)} can be added: the store holds no larger limit"


def day_limit(verdict: Verdict, scope: str, at: datetime, zone: ZoneInfo) -> DayLimit:
    """The limit of `scope` at `at`, by a verdict of that day in `zone`."""
    money = verdict.money_of(scope)
    return DayLimit(day_name(at, zone), money.limit_nusd, money.currency)


def scope_to_reset(verdict: Verdict) -> str:
    """Whose limit is reset when nobody names one: the account's, unless another currency's alone is spent."""
    scopes = (FLEET, *verdict.currencies)
    return next((scope for scope in scopes if _is_spent(verdict, scope)), FLEET)


def why_no_reset(verdict: Verdict, scope: str = FLEET) -> str | None:
    """Why a reset of this scope's limit is refused now, or None: money can be added, sight cannot."""
    is_tier = scope in verdict.tiers
    reasons = verdict.reasons_for(scope) if is_tier else verdict.reasons
    blind = [reason for reason in reasons if reason in BLIND]
    if blind:
        why = verdict.sentence_for(scope) if is_tier else verdict.sentence
        return f"the gate is {' and '.join(blind)}: {why}"
    if _is_spent(verdict, scope):
        return None
    others = [other for other in (FLEET, *verdict.currencies, *verdict.tiers) if _is_spent(verdict, other)]
    if others:
        return f"its limit is not spent; {' and '.join(_told(verdict, other) for other in others)}"
    return "the gate is open" if not reasons else "it was closed by hand; mtok gate open"


def _is_spent(verdict: Verdict, scope: str) -> bool:
    return not _BY_MONEY.isdisjoint(verdict.money_of(scope).reasons)


def _told(verdict: Verdict, scope: str) -> str:
    """Whose limit is spent, and the command that adds to it."""
    if scope == FLEET:
        return "the account's is: mtok gate reset"
    option = "--tier" if scope in verdict.tiers else "--currency"
    return f"that of {scope} is: mtok gate reset {option} {scope}"
