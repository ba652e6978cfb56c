"""Keys by name, as the bytes that a terminal sends for them."""

import codecs

KEYS = {
    "up": b"\x1b[A",
    "down": b"\x1b[B",
    "right": b"\x1b[C",
    "left": b"\x1b[D",
    "home": b"\x1b[H",
    "end": b"\x1b[F",
    "pageup": b"\x1b[5~",
    "pagedown": b"\x1b[6~",
    "insert": b"\x1b[2~",
    "delete": b"\x1b[3~",
    "enter": b"\r",
    "tab": b"\t",
    "shift+tab": b"\x1b[Z",
    "escape": b"\x1b",
    "esc": b"\x1b",
    "space": b" ",
    "backspace": b"\x7f",
    **{f"f{n}": b"\x1bO" + bytes([ord("P") + n - 1]) for n in range(1, 5)},
    **{f"f{n}": b"\x1b[%d~" % code for n, code in enumerate((15, 17, 18, 19, 20, 21, 23, 24), 5)},
    **{f"ctrl+{chr(code)}": bytes([code - 96]) for code in range(ord("a"), ord("z") + 1)},
}


def key_bytes(name: str) -> bytes:
    """What a key sends: `down`, `ctrl+c`, `f1`, `q`, `\\x1b`, or letters as `text:...`."""
    if name.startswith("text:"):
        return name[5:].encode()
    if name.lower() in KEYS:
        return KEYS[name.lower()]
    return codecs.decode(name, "unicode_escape").encode("latin-1") if "\\" in name else name.encode()


def steps(text: str) -> list[bytes | float]:
    """`"down enter wait:0.5 text:abc"`: the bytes of keys, and seconds to wait."""
    return [float(word[5:]) if word.startswith("wait:") else key_bytes(word) for word in text.split()]
