"""Lines of spans, of which only those that changed are drawn again."""

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from console.tui.cells import Role, Row, line, text_of
from store.printable import printable

CLASSES = frozenset(f"mtok--{role}" for role in Role)


class Drawn(Widget):
    """Draws texts by their roles, whose styles the app has once: nine more a widget would be felt at the start."""

    _looks: dict[Role, Style] | None = None

    @property
    def looks(self) -> dict[Role, Style]:
        """How each role looks on this widget, by the theme."""
        if self._looks is None:
            self._looks = {role: self._look(f"mtok--{role}") for role in Role}
        return self._looks

    def notify_style_update(self) -> None:
        """Another theme, or another state: every line looks different."""
        self._looks = None
        super().notify_style_update()

    def _look(self, name: str) -> Style:
        own = self.app.get_component_styles(name)
        _, _, background, color = self.colors
        background += own.background
        if own.auto_color:
            color = background.get_contrast_text(own.color.a)
        elif own.has_rule("color"):
            color = own.color
        colors = Style.from_color((background + color).rich_color, background.rich_color)
        return self.text_style + own.text_style + colors


def strip_of(row: Row, looks: dict[Role, Style], width: int) -> Strip:
    """A line as Textual draws it, `width` cells wide."""
    strip = Strip([Segment(printable(span.text), looks[span.role]) for span in row])
    return strip.adjust_cell_length(width, looks[Role.PLAIN])


class Lines(Drawn):
    """As high as it has lines. Nothing in them is markup, since names come from providers."""

    DEFAULT_CSS = "Lines { height: auto; width: 100%; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._rows: list[Row] = []
        self._strips: dict[int, Strip] = {}
        self._drawn_width = 0

    @property
    def text(self) -> str:
        """What it shows, without roles."""
        return "\n".join(text_of(row) for row in self._rows)

    def say(self, text: str, role: Role = Role.PLAIN) -> None:
        """Show one line."""
        self.show([line(text, role)])

    def show(self, rows: Sequence[Row]) -> None:
        """Show these lines; only those that differ from the ones before are drawn."""
        before, self._rows = self._rows, list(rows)
        if len(before) != len(rows):
            self._strips.clear()
            # not left to `auto`: Textual 8.2 keeps a height that was asked for between two of these
            self.styles.height = len(rows)
            self.refresh(layout=True)
            return
        for y, (old, new) in enumerate(zip(before, rows, strict=True)):
            if old != new:
                self._strips.pop(y, None)
                self.refresh(Region(0, y, self.size.width, 1))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """A row a line."""
        return len(self._rows)

    def render_line(self, y: int) -> Strip:
        """The line at `y`."""
        if y >= len(self._rows):
            return Strip.blank(self.size.width, self.rich_style)
        if self._drawn_width != self.size.width:  # drawn anew before it is told of its size
            self._strips.clear()
            self._drawn_width = self.size.width
        if y not in self._strips:
            self._strips[y] = strip_of(self._rows[y], self.looks, self.size.width)
        return self._strips[y]

    def notify_style_update(self) -> None:
        """Another theme, or another state: every line looks different."""
        self._strips.clear()
        super().notify_style_update()

    def on_resize(self) -> None:
        """Another width."""
        self._strips.clear()
