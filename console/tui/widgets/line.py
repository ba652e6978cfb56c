"""Lines of text that are drawn again only when they change."""

from textual.widgets import Static


class Line(Static):
    """Plain text: nothing in it is markup, since names come from providers."""

    def __init__(self, *, id: str) -> None:  # noqa: A002 - the name is Textual's
        super().__init__("", id=id, markup=False)
        self.text = ""

    def show(self, text: str) -> None:
        """Show this text."""
        if text != self.text:
            self.text = text
            self.update(text)
