"""The numbered screens by name; each is imported when it is first looked at."""

from collections.abc import Callable, Sequence
from importlib import import_module

from textual.binding import Binding

from console.tui.screens.page import Page
from console.tui.view import View

_PAGES = {
    "Fleet": ("console.tui.screens.fleet", "FleetPage"),
    "Tier": ("console.tui.screens.tier", "TierPage"),
    "Band": ("console.tui.screens.band", "BandPage"),
    "Gate": ("console.tui.screens.gate", "GatePage"),
    "Billing": ("console.tui.screens.billing", "BillingPage"),
    "Journal": ("console.tui.screens.journal", "JournalPage"),
}


def make_page(name: str, view: View, bindings: Callable[[], Sequence[Binding]]) -> Page:
    """The screen called `name`, one of `console.tui.keys.PAGES`."""
    if name == "Help":
        from console.tui.screens.help import HelpPage

        return HelpPage(view, bindings)
    module, page = _PAGES[name]
    cls: type[Page] = getattr(import_module(module), page)
    return cls(view)
