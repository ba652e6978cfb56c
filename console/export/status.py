"""`mtok status --json`: the fleet as other programs read it. Its shape is stable.

Amounts are decimal strings with nine decimals, instants RFC 3339 in UTC; what is not known is
`{"unknown": reason}` in the place of its value.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from fractions import Fraction
from typing import Any

from store.clock import rfc3339
from store.figures import Figures, Usage
from store.fleet_view import Fleet, ProviderHealth, TierView
from store.gate import Reason, ScopeVerdict
from store.machines import CapacityView
from store.money import USD, format_nusd
from store.unknown import Unknown


def status_body(fleet: Fleet) -> dict[str, Any]:
    """The whole fleet as JSON has it."""
    verdict = fleet.verdict
    return {
        "as_of": rfc3339(fleet.at),
        "simulated": any(tier.spec.is_simulated for tier in fleet.tiers),
        "gate": {
            "state": "open" if verdict.is_open else "closed",
            "reasons": [str(reason) for reason in verdict.reasons],
            "message": verdict.sentence,
            "closed_since": instant(fleet.closed_since),
            "upper_bound_usd": amount(verdict.fleet.facts.bound_nusd),
            "spend_today_usd": amount(verdict.facts.debits_today_nusd),
            "limit_usd": format_nusd(verdict.limit_nusd),
            "currencies": {name: _budget(scope) for name, scope in verdict.currencies.items()},
            "providers": {name: [str(reason) for reason in reasons] for name, reasons in verdict.blind.items()},
        },
        "billing": {
            "last_complete_tick": instant(verdict.facts.last_complete_at),
            "age_s": age_s(fleet.at, verdict.facts.last_complete_at),
            "providers": [_health(fleet.at, health) for health in fleet.health],
        },
        "collector": {"led_by": fleet.led_by},
        "tiers": [_tier(tier, verdict.reasons_for(tier.spec.name)) for tier in fleet.tiers],
    }


def amount(nusd: int | Unknown) -> str | dict[str, str]:
    """An amount as JSON has it."""
    return unknown(nusd) if isinstance(nusd, Unknown) else format_nusd(nusd)


def dollars(amounts: Mapping[str, Any]) -> dict[str, Any]:
    """The same amounts under names that say that they are dollars: `debits` as `debits_usd`."""
    return {f"{name}_usd": value for name, value in amounts.items()}


def unknown(value: Unknown) -> dict[str, str]:
    """What stands in the place of a figure that is not known."""
    return {"unknown": value.reason}


def not_in_usd(currency: str) -> dict[str, str] | None:
    """What stands in the place of dollars where there is another currency; None where there are dollars."""
    return None if currency == USD else {"unknown": f"it bills in {currency}, and not in USD"}


def instant(at: datetime | None) -> str | None:
    """An instant by RFC 3339, where there is one."""
    return None if at is None else rfc3339(at)


def age_s(now: datetime, at: datetime | None) -> float | None:
    """Seconds since `at`, to the millisecond."""
    return None if at is None else round((now - at).total_seconds(), 3)


def figures_body(figures: Figures) -> dict[str, Any]:
    """One window of one tier."""
    spend, usage, edges = figures.spend, figures.usage, figures.edges
    currency = figures.currency
    output, total = amount(figures.output_nusd_per_mtok), amount(figures.total_nusd_per_mtok)
    billed = amount(spend if isinstance(spend, Unknown) else spend.nusd)
    elsewhere = None if currency is None else not_in_usd(currency)
    return {
        "start": None if isinstance(edges, Unknown) else rfc3339(edges.start_at),
        "end": None if isinstance(edges, Unknown) else rfc3339(edges.end_at),
        "since_first_tick": None if isinstance(edges, Unknown) else edges.since,
        "currency": currency,
        "spend": billed,
        "per_mtok_output": output,
        "per_mtok_total": total,
        "spend_usd": elsewhere or billed,
        "prompt_tokens": _count(usage, "prompt_tokens"),
        "cached_tokens": _count(usage, "cached_tokens"),
        "completion_tokens": _count(usage, "completion_tokens"),
        "reserved_completion_tokens": _count(usage, "reserved_completion_tokens"),
        "requests": _count(usage, "requests"),
        "usd_per_mtok_output": elsewhere or output,
        "usd_per_mtok_total": elsewhere or total,
        "utilisation": _ratio(figures.utilisation),
        "load": _ratio(figures.load),
    }


def _ratio(value: Fraction | Unknown) -> str | dict[str, str]:
    return unknown(value) if isinstance(value, Unknown) else f"{float(value):.4f}"


def _count(usage: Usage | Unknown, field: str) -> int | dict[str, str]:
    return unknown(usage) if isinstance(usage, Unknown) else int(getattr(usage, field))


def _tier(tier: TierView, reasons: tuple[Reason, ...]) -> dict[str, Any]:
    operation = tier.operation
    elsewhere = not_in_usd(tier.currency)
    rate, implied = amount(tier.rate_nusd_per_hour), amount(tier.implied_nusd_per_mtok)
    return {
        "tier": tier.spec.name,
        "state": tier.state,
        "market": str(tier.spec.market),
        "provider": tier.spec.provider,
        "simulated": tier.spec.is_simulated,
        "gpu": tier.spec.gpu,
        "engine": tier.engine or None,
        "problem": tier.problem,
        "gate": [str(reason) for reason in reasons],
        "currency": tier.currency,
        "rate_per_hour": rate,
        "rate_usd_per_hour": elsewhere or rate,
        "capacity_tokens_per_s": _capacity(tier.capacity),
        "capacity_measured": {} if isinstance(tier.capacity, Unknown) else dict(tier.capacity.abouts),
        "per_mtok_implied_at_capacity": implied,
        "usd_per_mtok_implied_at_capacity": elsewhere or implied,
        "gpus": [asdict(gpu) for gpu in tier.gpu],
        "no_gpu_figures": dict(tier.no_gpu),
        "operation": None if operation is None else {"kind": operation.kind, "phase": operation.phase},
        "keys": {label: asdict(used) for label, used in tier.keys.items()},
        "windows": {name: figures_body(figures) for name, figures in tier.figures.items()},
    }


def _capacity(found: CapacityView | Unknown) -> str | dict[str, str]:
    return unknown(found) if isinstance(found, Unknown) else f"{float(found.tokens_per_s):.3f}"


def _budget(scope: ScopeVerdict) -> dict[str, Any]:
    """Today's money in one currency beside the dollars."""
    return {
        "reasons": [str(reason) for reason in scope.reasons],
        "upper_bound": amount(scope.facts.bound_nusd),
        "spend_today": amount(scope.facts.debits_nusd),
        "limit": format_nusd(scope.limit_nusd),
    }


def _health(now: datetime, health: ProviderHealth) -> dict[str, Any]:
    return {
        "provider": health.provider,
        "last_complete_tick": instant(health.last_complete_at),
        "age_s": age_s(now, health.last_complete_at),
        "latency_ms": health.latency_ms,
        "problem": health.problem,
    }
