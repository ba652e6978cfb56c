"""Each hour of the last days as a point: how busy a tier was, and what its million tokens cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

from sqlmodel import Session

from store.figures import Figures
from store.money import USD
from store.points import figures_in
from store.unknown import Unknown
from store.window import Window

_HOUR = timedelta(hours=1)
_NOT_MEASURED = Unknown("capacity not measured")


@dataclass(frozen=True, slots=True)
class HourPoint:
    """The hour from `start` on; `currency`: what its spend is in, where that is known."""

    start: datetime
    spend_nusd: int | Unknown
    completion_tokens: int | Unknown
    output_nusd_per_mtok: int | Unknown
    utilisation: Fraction | Unknown
    load: Fraction | Unknown = _NOT_MEASURED
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Of $/Mtok output over `hours`, those with tokens: each is the price of one of them, by its nearest rank."""

    hours: int
    p10_nusd: int
    p50_nusd: int
    p90_nusd: int


@dataclass(frozen=True, slots=True)
class Band:
    """A tier's whole hours, oldest first. `currency`: of the newest hour whose spend is known."""

    tier: str
    hours: tuple[HourPoint, ...]
    output: Quantiles | Unknown
    currency: str = USD


def bands(
    session: Session, tiers: Sequence[str], at: datetime, days: int, then: datetime | None = None
) -> tuple[Band, ...]:
    """The hours of the last `days` up to the last whole hour at `at`; `then`: as read at a past instant."""
    end = at.replace(minute=0, second=0, microsecond=0)
    starts = [end - _HOUR * left for left in range(days * 24, 0, -1)]
    found = figures_in(session, tiers, [Window(start, start + _HOUR) for start in starts], then)
    return tuple(band_of(tier, tuple(map(_point, found[tier]))) for tier in tiers)


def quantiles(prices: Sequence[int]) -> Quantiles | Unknown:
    """By nearest rank: the smallest price that at least so many of a hundred hours do not exceed."""
    if not prices:
        return Unknown("no hour with tokens and a known spend")
    ordered = sorted(prices)
    p10, p50, p90 = (ordered[-(-percent * len(ordered) // 100) - 1] for percent in (10, 50, 90))
    return Quantiles(len(ordered), p10, p50, p90)


def band_of(tier: str, hours: tuple[HourPoint, ...]) -> Band:
    """A tier's hours with their quantiles, which are of one currency or not known."""
    prices = [hour.output_nusd_per_mtok for hour in hours]
    currencies = list(dict.fromkeys(hour.currency for hour in reversed(hours) if hour.currency))
    if len(currencies) > 1:  # no price of one currency says anything about another's
        mixed = Unknown(f"its hours are billed in {' and '.join(sorted(currencies))}")
        return Band(tier, hours, mixed, currencies[0])
    known = [price for price in prices if isinstance(price, int)]
    return Band(tier, hours, quantiles(known), *currencies)


def _point(one: Figures) -> HourPoint:
    start, spend, usage = one.window.start, one.spend, one.usage
    if not isinstance(one.edges, Unknown) and one.edges.start_at < start - _HOUR:
        far = Unknown("no complete tick in the hour before: its spend is in longer windows")
        return HourPoint(start, far, far, far, far, far)
    return HourPoint(
        start=start,
        spend_nusd=spend if isinstance(spend, Unknown) else spend.nusd,
        completion_tokens=usage if isinstance(usage, Unknown) else usage.completion_tokens,
        output_nusd_per_mtok=one.output_nusd_per_mtok,
        utilisation=one.utilisation,
        load=one.load,
        currency=one.currency,
    )
