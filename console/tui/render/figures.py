"""Figures to texts, in the digits that tell something.

Known, unknown and zero look different without colour: a number, `—`, and `$0.00` or `no tokens`.
"""

from fractions import Fraction
from functools import lru_cache

from store.figures import NO_TOKENS, Figures
from store.money import USD, display, display_exact
from store.unknown import Unknown

UNKNOWN = "—"
_BARS = "▁▂▃▄▅▆▇█"


def money(nusd: int, currency: str = USD) -> str:
    """An amount in the digits that tell something: cents for dollars, more for cents."""
    return display(nusd, currency, 2 if abs(nusd) >= 10**10 else 4)


def rate(nusd: int | Unknown, currency: str = USD) -> str:
    """A price per hour, as quoted."""
    return UNKNOWN if isinstance(nusd, Unknown) else display(nusd, currency)


def axis_money(nusd: int, currency: str = USD) -> str:
    """A round amount beside an axis, in no more decimals than it has."""
    if nusd % 10**9 == 0 and nusd:
        return display(nusd, currency, 0)
    return display_exact(nusd, currency)


def mtok_in(currency: str) -> str:
    """What a million tokens are priced in: `$/Mtok`, `EUR/Mtok`."""
    return f"{'$' if currency == USD else currency}/Mtok"


def per_mtok(value: int | Unknown, currency: str | None = USD) -> str:
    """$/Mtok; `no tokens` is not the same as not knowing."""
    if isinstance(value, Unknown):
        return value.reason if value == NO_TOKENS else UNKNOWN
    return display(value, currency or USD, 2 if value >= 10**11 else 4)


def count(figures: Figures, field: str) -> str:
    """Tokens, short: 987, 12.3k, 4.56M."""
    if isinstance(figures.usage, Unknown):
        return UNKNOWN
    return short(int(getattr(figures.usage, field)))


def short(tokens: int) -> str:
    """A count of tokens: 987, 12.3k, 4.56M."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**4)):
        if tokens >= size:
            return f"{tokens / (10**3 if unit == 'k' else size):.4g}{unit}"
    return str(tokens)


def percent(value: Fraction | Unknown) -> str:
    """A share of wall time."""
    return UNKNOWN if isinstance(value, Unknown) else f"{float(value) * 100:.0f}%"


@lru_cache(maxsize=4096)
def sparkline(values: tuple[int | Unknown, ...]) -> str:
    """A bar a step, oldest first, scaled to the largest; a step without a figure is a dot."""
    known = [value for value in values if not isinstance(value, Unknown)]
    top = max(known, default=0)
    return "".join("·" if isinstance(value, Unknown) else _BARS[_height(value, top)] for value in values)


def _height(value: int, top: int) -> int:
    return min(max(value, 0) * len(_BARS) // (top + 1), len(_BARS) - 1) if top > 0 else 0


def bar(share: Fraction, width: int) -> str:
    """A share of 1 as a bar of text."""
    filled = min(max(round(share * width), 0), width)
    return f"[{'#' * filled}{'-' * (width - filled)}]"


def age(seconds: float) -> str:
    """An age that a person reads at once: 4 s, 3 min, 2.5 h."""
    if seconds < 120:
        return f"{max(seconds, 0):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
