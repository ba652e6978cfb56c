"""The numbered screens by name; each is imported when it is first looked at."""

from collections.abc import Callable, Sequence

from textual.binding import Binding

from console.tui.screens.fleet import FleetPage
from console.tui.screens.page import Page
from console.tui.view import View


def make_page(name: str, view: View, bindings: Callable[[], Sequence[Binding]]) -> Page:
    """The screen called `name`."""
    if name == "Fleet":
        return FleetPage(view)
    from console.tui.screens.help import HelpPage

    return HelpPage(view, bindings)
