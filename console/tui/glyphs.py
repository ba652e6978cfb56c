"""Signs for terminals that have ASCII alone: one for one, so that nothing moves."""

from rich.cells import cell_len

_SIGNS = {
    "●": "@",
    "◐": "%",
    "○": "o",
    "▲": "^",
    "▼": "v",
    "×": "x",
    "—": "-",
    "–": "-",
    "−": "-",
    "·": ".",
    "…": "~",
    "⇡": "^",
    "⇣": "v",
    "↑": "^",
    "↓": "v",
    "→": ">",
    "←": "<",
    "÷": "/",
    "≥": ">",
    "≤": "<",
    "Σ": "S",
    "€": "E",
    "⁶": "6",
    "⁻": "-",
    "⁹": "9",
    "’": "'",
    "“": '"',
    "”": '"',
    "\N{NO-BREAK SPACE}": " ",
    **dict(zip("▁▂▃▄▅▆▇█", "_.,-=+*#", strict=True)),
    **dict.fromkeys("▎▏▌▐▍▋▊▉▕┃│║┆┊╎╏", "|"),
    **dict.fromkeys("─━═╌┄┈▔╴╶╸╺", "-"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╯╰╔╗╚╝┏┓┗┛┣┫┳┻╋╞╡╪", "+"),
    **dict.fromkeys("░▒▓", ":"),
}


def ascii_sign(glyph: str) -> str:
    """A glyph of one or two cells in ASCII, in as many."""
    if glyph.isascii():
        return glyph
    return _SIGNS.get(glyph[0]) or ("?" if cell_len(glyph) < 2 else "??")
