"""How a terminal is drawn on: chosen once, at the start."""

from collections.abc import Mapping
from dataclasses import dataclass, field

THEMES = {"dark": "textual-dark", "light": "textual-light", "ansi": "ansi-dark", "ansi-light": "ansi-light"}


@dataclass(frozen=True, slots=True)
class Look:
    """`theme` is a key of `THEMES`; `is_thin`: only changed cells are sent; `keys`: remapped keys by binding id.

    `erases`: the terminal fills what it erases with the background's colour ("bce"; GNU screen does not).
    """

    theme: str = "dark"
    is_ascii: bool = False
    is_thin: bool = True
    erases: bool = True
    has_mouse: bool = True
    keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ansi(self) -> bool:
        """Whether the terminal's own colours are used, and no others."""
        return self.theme.startswith("ansi")
