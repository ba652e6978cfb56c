"""What each tier's hours cost per million output tokens, beside the published band, and what a margin needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from console.tui.cells import Role, Row, line
from console.tui.render.canvas import Reference, clipped
from console.tui.render.exact import exact, ratio, whole
from console.tui.render.figures import UNKNOWN, axis_money, mtok_in, per_mtok
from console.tui.render.flow import sentences
from console.tui.render.scatter import Cloud, Dot, scatter_chart
from console.tui.table import Column, Entry
from store.clock import rfc3339
from store.figures import NO_TOKENS
from store.hours import Band, HourPoint
from store.money import USD
from store.unknown import Unknown

# "Cost of goods runs roughly $0.30 to $0.70 per million output tokens on an H100-class tier at good utilisation":
# spotinference.com/research/invoice-true-cost-per-mtok, section "The band"
BAND = Reference(
    values=(300_000_000, 700_000_000),
    name="published band $0.30-$0.70 (reference, not ours)",
    brief="published, not ours",
)
MARGINS = (0, 10, 20, 30, 40, 50)
_SHARES = {"load": "load, of measured capacity", "utilisation": "utilisation: no capacity known"}
_LOWEST = 10


@dataclass(frozen=True, slots=True)
class Asked:
    """The days that are shown, the margin in per cent, and the key that changes it."""

    days: int
    margin: int
    key: str = "m"


def columns(margin: int) -> tuple[Column, ...]:
    """The table's columns; `margin` in per cent."""
    return (
        Column("tier", "TIER", 10, is_number=False, letter="t", stretches=True),
        Column("band", "BAND", 8, is_number=False, letter="b", rank=6),
        Column("hours", "HOURS", 7, letter="h", rank=5),
        Column("unknown", "UNKNOWN", 9, letter="u", rank=4),
        Column("p10", "p10", 10, letter="1", rank=3),
        Column("p50", "MEDIAN", 10, letter="5"),
        Column("p90", "p90", 10, letter="9", rank=2),
        Column("price", f"PRICE {margin}%", 11, letter="p", rank=1),
    )


def entries(bands: Sequence[Band], margin: int) -> list[Entry]:
    """A tier a row, in the order of the settings."""
    return [_entry(band, margin) for band in bands]


def _entry(band: Band, margin: int) -> Entry:
    found = band.output
    unknown = sum(_is_unknown(hour) for hour in band.hours)
    cells = {"tier": band.tier, "hours": "0", "unknown": str(unknown), "band": UNKNOWN}
    order: dict[str, object] = {"tier": band.tier, "hours": 0, "unknown": unknown}
    if isinstance(found, Unknown):
        cells |= dict.fromkeys(("p10", "p50", "p90", "price"), UNKNOWN)
        return Entry(band.tier, cells, order, words=band.tier, role=Role.MUTED)
    amounts = {
        "p10": found.p10_nusd,
        "p50": found.p50_nusd,
        "p90": found.p90_nusd,
        "price": price_nusd(found.p50_nusd, margin),
    }
    cells |= {"hours": str(found.hours), "band": where(found.p50_nusd) if band.currency == USD else UNKNOWN}
    cells |= {key: per_mtok(value, band.currency) for key, value in amounts.items()}
    order |= {**amounts, "hours": found.hours, "band": found.p50_nusd if band.currency == USD else None}
    return Entry(band.tier, cells, order, words=band.tier)


def price_nusd(cost_nusd: int, margin: int) -> int:
    """The price of which `margin` per cent are left after this cost, rounded half even."""
    return round(Fraction(cost_nusd * 100, 100 - margin))


def where(value_nusd: int) -> str:
    """Where an amount of dollars lies beside the published band."""
    low, high = BAND.values
    if value_nusd < low:
        return "below"
    return "above" if value_nusd > high else "inside"


def share_of(band: Band) -> str:
    """What the horizontal axis shows: load where any hour has one, else utilisation."""
    has_load = any(not isinstance(hour.load, Unknown) for hour in band.hours)
    return "load" if has_load else "utilisation"


def band_rows(band: Band, asked: Asked, width: int, height: int) -> list[Row]:
    """One tier: each hour as a dot, the quantiles, the price; in `height` rows, unless that is too low."""
    words = _words(band, asked, width)
    dots, lost = _dots(band)
    title = f"{band.tier}: {mtok_in(band.currency)} OUT against {share_of(band)}"
    if not dots:
        return [clipped(line(f" {title}", Role.HEADING), width), *words]
    told = f"{asked.days} d, {_hours(len(dots))}{f', {lost} without {share_of(band)}' if lost else ''}"
    label, reference = partial(axis_money, currency=band.currency), BAND if band.currency == USD else None
    cloud = Cloud(title, told, _SHARES[share_of(band)], dots, label, reference)
    return [*scatter_chart(cloud, width, max(height - len(words), _LOWEST)), *words]


def _words(band: Band, asked: Asked, width: int) -> list[Row]:
    found = band.output
    reasons = [f"{count} h: {reason}" for reason, count in _reasons(band).items()]
    if isinstance(found, Unknown):
        return [
            *sentences([f"no quantiles of {asked.days} d: {found.reason}"], width, Role.WARN, UNKNOWN),
            *sentences(reasons, width, Role.MUTED, UNKNOWN),
        ]
    named = partial(per_mtok, currency=band.currency)
    beside = f"; the median lies {where(found.p50_nusd)} the published band" if band.currency == USD else ""
    price = named(price_nusd(found.p50_nusd, asked.margin))
    texts = [
        f"price for {asked.margin} % margin over the median hour: {price} per Mtok OUT ({asked.key}: others)",
        f"{_hours(found.hours)} with tokens: p10 {named(found.p10_nusd)}, median {named(found.p50_nusd)}, "
        f"p90 {named(found.p90_nusd)}{beside}",
    ]
    return [*sentences(texts, width), *sentences(reasons, width, Role.MUTED, UNKNOWN)]


def _hours(count: int) -> str:
    return f"{count} hour{'' if count == 1 else 's'}"


def _dots(band: Band) -> tuple[list[Dot], int]:
    """The hours that have both figures, and how many have the amount alone."""
    is_load = share_of(band) == "load"
    dots, lost = [], 0
    for hour in band.hours:
        share = hour.load if is_load else hour.utilisation
        if isinstance(hour.output_nusd_per_mtok, Unknown) or hour.currency not in (None, band.currency):
            continue
        if isinstance(share, Unknown):
            lost += 1
        else:
            dots.append(Dot(share, hour.output_nusd_per_mtok))
    return dots, lost


def _reasons(band: Band) -> dict[str, int]:
    found: dict[str, int] = {}
    for hour in band.hours:
        if isinstance(hour.output_nusd_per_mtok, Unknown):
            reason = hour.output_nusd_per_mtok.reason
            found[reason] = found.get(reason, 0) + 1
    return dict(sorted(found.items(), key=lambda pair: -pair[1])[:3])


def _is_unknown(hour: HourPoint) -> bool:
    value = hour.output_nusd_per_mtok
    return isinstance(value, Unknown) and value != NO_TOKENS


HOUR_COLUMNS = (
    "tier",
    "hour",
    "currency",
    "spend",
    "completion_tokens",
    "per_mtok_output",
    "utilisation",
    "load",
    "unknown",
)


def hour_cells(tier: str, hour: HourPoint) -> list[str]:
    """An hour in the order of `HOUR_COLUMNS`: RFC 3339, exact amounts, and why something is not known."""
    known = (hour.spend_nusd, hour.completion_tokens, hour.output_nusd_per_mtok)
    reasons = dict.fromkeys(value.reason for value in known if isinstance(value, Unknown))
    return [
        tier,
        rfc3339(hour.start),
        hour.currency or "",
        exact(hour.spend_nusd),
        whole(hour.completion_tokens),
        exact(hour.output_nusd_per_mtok),
        ratio(hour.utilisation),
        ratio(hour.load),
        "; ".join(reasons),
    ]
