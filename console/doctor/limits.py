"""Whether everything that is billed counts against a limit: without one the gate never opens."""

from collections.abc import Collection, Iterator

from console.doctor.check import Check, failed
from console.settings import Settings
from store.money import USD
from store.spend import without_limit


def unlimited(what: str, settings: Settings, billed: Collection[str]) -> Iterator[Check]:
    """A failure where `billed` has a currency in which no limit is set; nothing where all is well."""
    limits = settings.budget.daily
    why = without_limit(billed, limits)
    if why is not None:
        missing = ", ".join(f'{currency} = "…"' for currency in sorted({*billed} - {USD, *limits}))
        yield failed(what, f"{why.reason}: the gate stays closed", f"write daily = {{ {missing} }} in [budget]")
