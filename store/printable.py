"""Text from elsewhere (names, messages, output of hosts), so that no terminal, log or reader of JSON obeys it.

What cannot be printed (C0 and C1 controls, separators of lines and paragraphs, marks that turn the direction of
writing, what has no width, half a surrogate pair) becomes U+FFFD where people read, and an escape in JSON.
"""

import json
from typing import Any

_LONGEST = 240


def printable(text: str) -> str:
    """One line of text without anything that a terminal would obey; tabs become spaces."""
    if text.isprintable():
        return text
    spaced = text.replace("\t", "    ")
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in spaced)


def printable_lines(text: str) -> str:
    """Several lines, each as `printable` makes it."""
    return "\n".join(printable(line) for line in text.split("\n"))


def named(text: str, longest: int = _LONGEST) -> str:
    """A name or a message of others, as it is kept: printable, and cut with an ellipsis where it is long."""
    shown = printable(text[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def json_text(body: Any, *, indent: int | None = None) -> str:
    """JSON that is readable as it stands, and in which everything that cannot be printed is an escape."""
    text = json.dumps(body, indent=indent, ensure_ascii=False)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else _escape(char) for char in text)


def _escape(char: str) -> str:
    """`\\u…` of one character, two of them beyond U+FFFF."""
    return f"\\u{ord(char):04x}" if ord(char) <= 0xFFFF else json.dumps(char)[1:-1]
