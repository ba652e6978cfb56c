"""What may move on a screen between two ticks: the age of what is blind, and nothing else."""

from dataclasses import replace

from store.fleet_view import Fleet
from store.gate import BLIND, Verdict


def still(before: Fleet | None, now: Fleet) -> Fleet:
    """`now`, with the verdict of `before` where it says the same: headroom alone grows from second to second.

    It is shown as of the tick, so that a healthy screen sends nothing; the gate itself decides by the second.
    """
    is_same_tick = before is not None and (before.at <= now.at) and before.tick_at == now.tick_at
    if before is None or not is_same_tick or not _says_the_same(before.verdict, now.verdict):
        return now
    return replace(now, verdict=before.verdict)


def _says_the_same(before: Verdict, now: Verdict) -> bool:
    if before.by_scope != now.by_scope or before.facts.closed_by != now.facts.closed_by:
        return False
    if any(reason in BLIND for _, reason, _ in now.closings):  # how long it has been blind is news
        return False
    return _money_of(before) == _money_of(now)


def _money_of(verdict: Verdict) -> list[tuple[object, int]]:
    """What a tick, or a reset, changes of each limit."""
    scopes = (verdict.fleet, *verdict.currencies.values(), *verdict.tiers.values())
    return [(scope.facts.debits_nusd, scope.limit_nusd) for scope in scopes]
