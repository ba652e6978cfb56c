"""The fleet's table: an entry a tier."""

from typing import Any

from console.tui.render.figures import UNKNOWN, count, money, per_mtok, percent, rate, sparkline
from console.tui.render.states import state_role, tier_text
from console.tui.table import Column, Entry
from store.fleet_view import Fleet, TierView
from store.unknown import Unknown


def columns(window: str, *, has_load: bool = False) -> tuple[Column, ...]:
    """The table's columns; those that need a window show `window`. A load is shown where a capacity is known."""
    load = (Column("load", "LOAD", 6, letter="l", rank=2),) if has_load else ()
    return (
        Column("tier", "TIER", 9, is_number=False, letter="t", stretches=True),
        Column("state", "STATE", 11, is_number=False, letter="s"),
        Column("market", "MARKET", 10, is_number=False, letter="m", rank=7),
        Column("gpu", "GPU", 10, is_number=False, letter="g", rank=12, stretches=True),
        Column("rate", "$/h", 7, letter="r", rank=5),
        Column("today", "TODAY", 9, letter="d", rank=3),
        Column("in", f"IN {window}", 8, letter="i", rank=8),
        Column("out", f"OUT {window}", 8, letter="o", rank=4),
        Column("output", "$/Mtok OUT", 11, letter="c", rank=1),
        Column("util", "UTIL", 6, letter="u", rank=6),
        *load,
        Column("output_24h", "$/Mtok 24h", 11, letter="y", rank=11),
        Column("trend", "$/Mtok OUT TREND", 17, rank=10),
        Column("flight", "BUSY", 6, letter="f", rank=13),
    )


def entries(fleet: Fleet, window: str) -> list[Entry]:
    """A tier a row, in the order of the settings."""
    return [_entry(tier, window) for tier in fleet.tiers]


def _entry(tier: TierView, window: str) -> Entry:
    figures, today = tier.figures[window], tier.figures["today"].spend
    usage = None if isinstance(figures.usage, Unknown) else figures.usage
    spec = tier.spec
    per_hour, day = tier.rate_nusd_per_hour, tier.figures["24h"]
    output, output_24h = figures.output_nusd_per_mtok, day.output_nusd_per_mtok
    utilisation, load = figures.utilisation, figures.load
    return Entry(
        key=spec.name,
        cells={
            "tier": spec.name,
            "state": tier_text(tier),
            "market": str(spec.market),
            "rate": rate(per_hour, tier.currency),
            "today": UNKNOWN if isinstance(today, Unknown) else money(today.nusd, today.currency),
            "in": count(figures, "prompt_tokens"),
            "out": count(figures, "completion_tokens"),
            "output": per_mtok(output, figures.currency),
            "util": percent(utilisation),
            "load": percent(load),
            "output_24h": per_mtok(output_24h, day.currency),
            "trend": sparkline(tier.trend),
            "gpu": spec.gpu,
            "flight": UNKNOWN if isinstance(tier.in_flight, Unknown) else str(tier.in_flight),
        },
        order={
            "tier": spec.name,
            "state": tier.state,
            "market": str(spec.market),
            "gpu": spec.gpu,
            "rate": _known(per_hour),
            "today": None if isinstance(today, Unknown) else today.nusd,
            "in": usage.prompt_tokens if usage else None,
            "out": usage.completion_tokens if usage else None,
            "output": _known(output),
            "output_24h": _known(output_24h),
            "util": _known(utilisation),
            "load": _known(load),
            "flight": _known(tier.in_flight),
        },
        words=f"{spec.name} {tier.state} {spec.market} {spec.gpu} {spec.provider} {tier.engine}",
        role=state_role(tier.state),
    )


def _known(value: Any) -> Any:
    return None if isinstance(value, Unknown) else value
