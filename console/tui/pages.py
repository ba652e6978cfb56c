"""The numbered screens by name; each is imported when it is first looked at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

from textual.binding import Binding

from console.loading import LOADING
from console.tui.keys import PAGES
from console.tui.screens.page import Page
from console.tui.view import View
from console.tui.widgets.line_table import LineTable

_CLASSES = {
    "Fleet": ("console.tui.screens.fleet", "FleetPage"),
    "Tier": ("console.tui.screens.tier", "TierPage"),
    "Band": ("console.tui.screens.band", "BandPage"),
    "Gate": ("console.tui.screens.gate", "GatePage"),
    "Billing": ("console.tui.screens.billing", "BillingPage"),
    "Journal": ("console.tui.screens.journal", "JournalPage"),
    "Help": ("console.tui.screens.help", "HelpPage"),
}


@dataclass(frozen=True, slots=True)
class PageKey:
    """A key of the screens called `pages`; none: of tables, on whichever screen."""

    binding: Binding
    pages: tuple[str, ...]

    @property
    def is_everywhere(self) -> bool:
        """Whether it needs no particular screen."""
        return len(self.pages) in (0, len(PAGES))


def make_page(name: str, view: View, keys: Callable[[], Sequence[PageKey]]) -> Page:
    """The screen called `name`, one of `console.tui.keys.PAGES`."""
    if name == "Help":
        from console.tui.screens.help import HelpPage

        return HelpPage(view, keys)
    return _class_of(name)(view)


def page_keys() -> list[PageKey]:
    """Each key with an id that screens and tables have of their own. This imports every screen."""
    found: dict[str, Binding] = {}
    pages: dict[str, list[str]] = {}
    for name in PAGES:
        for cls in _class_of(name).__mro__:
            for binding in cls.__dict__.get("BINDINGS", ()):
                if isinstance(binding, Binding) and binding.id:
                    found.setdefault(binding.id, binding)
                    known = pages.setdefault(binding.id, [])
                    known += [] if name in known else [name]
    tables = [binding for binding in LineTable.BINDINGS if isinstance(binding, Binding) and binding.id]
    own = [PageKey(binding, tuple(pages[id_])) for id_, binding in found.items()]
    return [*own, *(PageKey(binding, ()) for binding in tables)]


def _class_of(name: str) -> type[Page]:
    module, page = _CLASSES[name]
    with LOADING:
        cls: type[Page] = getattr(import_module(module), page)
    return cls
