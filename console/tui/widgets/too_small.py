"""What stands in front of everything on a terminal that is too small for it, and goes when it is not."""

from textual.strip import Strip

from console.tui.cells import Role, line
from console.tui.render.status import wrapped
from console.tui.widgets.lines import Drawn, strip_of

LEAST_WIDTH, LEAST_HEIGHT = 60, 16


def is_too_small(width: int, height: int) -> bool:
    """Whether a terminal of this size cannot hold a screen."""
    return width < LEAST_WIDTH or height < LEAST_HEIGHT


class TooSmall(Drawn):
    """Covers its screen, which lives on behind it; the size that is needed is all that it says."""

    def on_mount(self) -> None:
        """A screen may be opened on a small terminal."""
        self.fit()

    def fit(self) -> None:
        """Come or go, by the size that the terminal has now."""
        is_small = is_too_small(*self.app.size)
        if self.display != is_small:
            self.display = is_small
        if is_small:
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """The sentence, from the top."""
        width, height = self.app.size
        text = f"mtok needs {LEAST_WIDTH}x{LEAST_HEIGHT}; this terminal is {width}x{height}"
        rows = wrapped(text, width)
        return strip_of(line(rows[y] if y < len(rows) else "", Role.WARN), self.looks, self.size.width)
