"""FOCUS: one row a resource, charge period and kind of charge (https://focus.finops.org, 1.2 and 1.4).

Costs are exact decimals that add up to `spend`. Unit prices and SKUs are left out: what is billed is a counter's
difference, and no price that we could state would multiply to it exactly. Tokens and $/Mtok stand on one row a tier
and period, so that they too may be added up.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from console.errors import KindRefused
from console.export.csv import defused
from console.providers.registry import provider_kind
from store.clock import rfc3339
from store.money import format_nusd
from store.window import Edges, Window

VERSIONS = ("1.2", "1.4")
_COLUMNS = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodStart",
    "BillingPeriodEnd",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "Tags",
)
_OURS = (
    "x_Tier",
    "x_PromptTokens",
    "x_CompletionTokens",
    "x_PerMtokOutput",
    "x_PerMtokTotal",
    "x_CountedStart",
    "x_CountedEnd",
    "x_SampleState",
    "x_CumulativeCost",
    "x_Counter",
    "x_Simulated",
)
_RENAMED = {"1.4": {"ProviderName": "ServiceProviderName", "PublisherName": "HostProviderName"}}
_SERVICES = {
    "instance": ("Compute", "Virtual Machines", "GPU instance"),
    "volume": ("Storage", "Block Storage", "Volume"),
}


@dataclass(frozen=True, slots=True)
class Charge:
    """What one counter was charged in the step `[start_at, end_at)`, which lies in one billing period.

    `nusd`: nano-units of `currency`, below zero for a credit. `edges`: the ticks that it was counted between.
    `is_correction`: of an earlier billing period. Tokens and $/Mtok are the tier's, on one of its rows, else None.
    """

    start_at: datetime
    end_at: datetime
    edges: Edges
    tier: str
    provider: str
    provider_kind: str
    resource_kind: str
    resource_id: str
    resource_name: str
    currency: str
    nusd: int
    is_credit: bool
    is_correction: bool
    counter: str
    cumulative_nusd: int
    sample_state: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    per_mtok_output_nusd: int | None = None
    per_mtok_total_nusd: int | None = None


def columns(version: str) -> tuple[str, ...]:
    """The header of a FOCUS version, our own `x_` columns last."""
    renamed = _RENAMED.get(version, {})
    return (*(renamed.get(name, name) for name in _COLUMNS), *_OURS)


def billing_periods(window: Window) -> Iterator[Window]:
    """`window` in parts of one billing period each, a month of UTC, over whose end no step of theirs reaches."""
    start = window.start
    while (end := _following(_month(start))) < window.end:
        yield Window(start, end)
        start = end
    yield Window(start, window.end)


def focus_lines(charges: Iterable[Charge], version: str) -> Iterator[list[str]]:
    """Header and rows, one at a time. An empty cell is FOCUS's null."""
    yield list(columns(version))
    for charge in charges:
        yield [*_focus_cells(charge), *_our_cells(charge)]


def _focus_cells(charge: Charge) -> list[str]:
    issuer, is_simulated = _issuer(charge.provider_kind)
    category, subcategory, service = _SERVICES.get(charge.resource_kind, ("Other", "Other (Other)", "Other"))
    month = _month(charge.start_at)
    cost = format_nusd(charge.nusd)
    seconds = round((charge.edges.end_at - charge.edges.start_at).total_seconds())
    measured = ("", "") if charge.is_credit else (str(seconds), "Seconds")
    tags = {"tier": charge.tier} | ({"simulated": "true"} if is_simulated else {})
    return [
        cost,
        defused(charge.provider),
        defused(charge.provider),
        charge.currency,
        _instant(month),
        _instant(_following(month)),
        "Credit" if charge.is_credit else "Usage",
        "Correction" if charge.is_correction else "",
        f"{service} {defused(charge.resource_id)}: {'credited' if charge.is_credit else 'billed'}",
        "One-Time" if charge.is_credit else "Usage-Based",
        _instant(charge.start_at),
        _instant(charge.end_at),
        *measured,
        cost,
        cost,
        issuer,
        cost,
        *measured,
        issuer,
        issuer,
        defused(charge.resource_id),
        defused(charge.resource_name),
        charge.resource_kind,
        category,
        service,
        subcategory,
        json.dumps(tags),
    ]


def _month(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _following(month: datetime) -> datetime:
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


def _our_cells(charge: Charge) -> list[str]:
    return [
        charge.tier,
        "" if charge.prompt_tokens is None else str(charge.prompt_tokens),
        "" if charge.completion_tokens is None else str(charge.completion_tokens),
        "" if charge.per_mtok_output_nusd is None else format_nusd(charge.per_mtok_output_nusd),
        "" if charge.per_mtok_total_nusd is None else format_nusd(charge.per_mtok_total_nusd),
        _instant(charge.edges.start_at),
        _instant(charge.edges.end_at),
        charge.sample_state,
        format_nusd(charge.cumulative_nusd),
        defused(charge.counter),
        str(_issuer(charge.provider_kind)[1]).lower(),
    ]


def _issuer(kind: str) -> tuple[str, bool]:
    """Who issues the invoice, and whether it is simulated. A kind that is here no longer keeps its name."""
    try:
        known = provider_kind(kind)
    except KindRefused:
        return defused(kind), False
    return known.title, known.is_simulated


def _instant(at: datetime) -> str:
    """`YYYY-MM-DDTHH:MM:SSZ`: FOCUS knows no fractions; ours snap to the second that they began in."""
    return rfc3339(at.replace(microsecond=0))
