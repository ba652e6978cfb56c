"""The fleet in sentences, one a line, for screen readers and logs: what is, and what has changed since."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from console.tui.render.figures import UNKNOWN, count, money, per_mtok, percent
from console.tui.render.tier import unknown_reasons
from store.clock import rfc3339
from store.fleet_view import Fleet, TierView
from store.gate import Verdict
from store.money import USD, display
from store.unknown import Unknown


def stamped(at: datetime, text: str) -> str:
    """A line with its instant before it."""
    return f"{rfc3339(at.replace(microsecond=0))} {text}"


def everything(fleet: Fleet, window: str) -> Iterator[str]:
    """The gate, billing, and a line a tier."""
    if any(tier.spec.is_simulated for tier in fleet.tiers):
        yield "the provider is SIMULATED: no money is spent"
    yield gate_sentence(fleet)
    yield leader_sentence(fleet)
    yield from (health_sentence(fleet, provider) for provider in _providers(fleet))
    yield from (tier_sentence(tier, window) for tier in fleet.tiers)


def changes(before: Fleet, now: Fleet) -> Iterator[str]:
    """What a person must hear at once: the gate, billing, states, operations, problems. Figures are not news."""
    if _verdict(before) != _verdict(now):
        yield gate_sentence(now)
    if (before.led_by is None) != (now.led_by is None):
        yield leader_sentence(now)
    for provider in _providers(now):
        if _problem(before, provider) != _problem(now, provider):
            yield health_sentence(now, provider)
    for tier in now.tiers:
        yield from _tier_changes(before.tier(tier.spec.name), tier)


def gate_sentence(fleet: Fleet) -> str:
    """The gate, today's budget, and each tier, or provider, that is closed by itself."""
    verdict, spent = fleet.verdict, fleet.verdict.facts.debits_today_nusd
    today = f"not known ({spent.reason})" if isinstance(spent, Unknown) else money(spent)
    budget = "; ".join([f"spent today {today} of {display(verdict.limit_nusd, USD)}", *_closed_alone(verdict)])
    if verdict.is_open:
        return f"gate OPEN, {budget}"
    return f"gate CLOSED, {', '.join(verdict.reasons)}: {verdict.sentence}; {budget}"


def leader_sentence(fleet: Fleet) -> str:
    """Whether anybody reads the bills."""
    return "a collector leads" if fleet.led_by else "COLLECTOR DEAD: nobody reads the bills"


def health_sentence(fleet: Fleet, provider: str) -> str:
    """How one provider's billing answers."""
    health = next(one for one in fleet.health if one.provider == provider)
    if health.last_complete_at is None:
        return f"billing of {provider}: never complete ({health.problem or 'no tick yet'})"
    last = f"last complete tick {rfc3339(health.last_complete_at)}"
    return (
        f"billing of {provider}: STALE, {health.problem}; {last}"
        if health.problem
        else f"billing of {provider}: {last}"
    )


def tier_sentence(tier: TierView, window: str) -> str:
    """A tier's state and its figures in one window; why those that are missing are not known."""
    figures, rate, today = tier.figures[window], tier.rate_nusd_per_hour, tier.figures["today"].spend
    parts = [
        f"tier {tier.spec.name}: {tier.state}, {tier.spec.market}",
        "rate not quoted" if isinstance(rate, Unknown) else f"quoted {display(rate, tier.currency)} an hour",
        f"today {'not known' if isinstance(today, Unknown) else money(today.nusd, today.currency)}",
        f"in {window}: {count(figures, 'prompt_tokens')} tokens in, {count(figures, 'completion_tokens')} out",
        f"$/Mtok output {per_mtok(figures.output_nusd_per_mtok, figures.currency)}",
        f"utilisation {percent(figures.utilisation)}, load {percent(figures.load)}",
    ]
    reasons = unknown_reasons(tier)
    said = "; ".join(parts).replace(UNKNOWN, "not known")  # a dash is not read aloud
    return said + (f"; because: {' / '.join(reasons)}" if reasons else "")


def _tier_changes(before: TierView | None, now: TierView) -> Iterator[str]:
    name = now.spec.name
    if before is None or before.state != now.state:
        yield f"tier {name}: {now.state}" + (f", was {before.state}" if before else "")
    if before is None or before.problem != now.problem:
        yield f"tier {name}: problem: {now.problem or 'over'}"
    then, phase = before.operation if before else None, now.operation
    if phase is not None and (then is None or then.phase != phase.phase):
        yield f"tier {name}: {phase.kind}: {phase.phase} {phase.detail}".rstrip()
    elif phase is None and then is not None:
        yield f"tier {name}: {then.kind} has ended"


def _closed_alone(verdict: Verdict) -> Iterable[str]:
    """Whom the gate does not let serve though it may be open for the account, and why; each said once."""
    alone = [one for one in verdict.closings if one[0] and one[0] not in verdict.currencies]
    return dict.fromkeys(f"CLOSED for {whom}: {why.removeprefix(f'{whom}: ')}" for whom, _, why in alone)


def _verdict(fleet: Fleet) -> tuple[object, ...]:
    return fleet.verdict.by_scope, fleet.verdict.facts.closed_by


def _providers(fleet: Fleet) -> list[str]:
    return [health.provider for health in fleet.health]


def _problem(fleet: Fleet, provider: str) -> str | None:
    return next((health.problem for health in fleet.health if health.provider == provider), None)
