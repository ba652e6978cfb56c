"""What a program's bytes ask of a terminal, what a terminal answers, and what is left switched on."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

FEATURES = {
    "alt_screen": rb"\x1b\[\?(?:1049|1047|47)h",
    "sync_output_2026": rb"\x1b\[\?2026h",
    "inband_resize_2048": rb"\x1b\[\?2048h",
    "bracketed_paste": rb"\x1b\[\?2004h",
    "focus_events": rb"\x1b\[\?1004h",
    "mouse_click": rb"\x1b\[\?(?:[0-9;]*;)?100[0-3][0-9;]*h",
    "mouse_sgr": rb"\x1b\[\?(?:[0-9;]*;)?1006[0-9;]*h",
    "mouse_pixels": rb"\x1b\[\?1016h",
    "kitty_keys": rb"\x1b\[>[0-9]+u",
    "osc52_clipboard": rb"\x1b\]52;",
    "osc8_hyperlink": rb"\x1b\]8;",
    "title": rb"\x1b\][02];",
    "bell": rb"(?<!\x1b)\x07(?![\x00-\x1f])",
    "full_clear_2J": rb"\x1b\[2J",
    "line_erase_EL": rb"\x1b\[[0-2]?K",
    "sgr_truecolor": rb"[\[;]38[;:]2[;:]|[\[;]48[;:]2[;:]",
    "sgr_256": rb"[\[;]38[;:]5[;:]|[\[;]48[;:]5[;:]",
    "sgr_16": rb"\x1b\[(?:[0-9;]*;)?(?:3[0-7]|4[0-7]|9[0-7]|10[0-7])(?:;[0-9;]*)?m",
    "sgr_blink": rb"\x1b\[(?:[0-9;]*;)?5(?:;[0-9;]*)?m",
}

# modes that must be off again when the program leaves: switched on by the first, off by the second
RESTORED = {
    "alt_screen": (FEATURES["alt_screen"], rb"\x1b\[\?(?:1049|1047|47)l"),
    "cursor_hidden": (
        rb"\x1b\[\?25l",
        rb"\x1b\[\?25h|\x1b\[\?12(?:;25)?[hl]\x1b\[\?25h|\x1b\[34h\x1b\[\?25h",
    ),
    "mouse": (FEATURES["mouse_click"], rb"\x1b\[\?(?:[0-9;]*;)?100[0-3][0-9;]*l"),
    "bracketed_paste": (FEATURES["bracketed_paste"], rb"\x1b\[\?2004l"),
    "focus_events": (FEATURES["focus_events"], rb"\x1b\[\?1004l"),
    "inband_resize": (FEATURES["inband_resize_2048"], rb"\x1b\[\?2048l"),
    "kitty_keys": (FEATURES["kitty_keys"], rb"\x1b\[<[0-9]*u"),
}

_QUERY = re.compile(
    rb"\x1b\[(?P<da1>0?c)|\x1b\[>(?P<da2>0?c)|\x1b\[=(?P<da3>0?c)"
    rb"|\x1b\[(?P<dsr>[56])n|\x1b\[\?(?P<decrqm>[0-9]+)\$p"
    rb"|\x1b\[(?P<win>1[468])t|\x1b\[\?(?P<kitty>u)|\x1b\[>(?P<xtver>[0-9]*q)"
    rb"|\x1b\](?P<osc>1[01]);\?(?:\x07|\x1b\\)|\x1bP\+q(?P<tcap>[0-9A-Fa-f;]+)\x1b\\"
)
_LONGEST_QUERY = 64
_FIXED = {"da1": b"\x1b[?62;22c", "da2": b"\x1b[>0;276;0c", "da3": b"\x1bP!|00000000\x1b\\"}


def features(stream: bytes) -> dict[str, int]:
    """How often each feature of a terminal is used."""
    found = {name: len(re.findall(pattern, stream)) for name, pattern in FEATURES.items()}
    return {name: times for name, times in found.items() if times}


def not_restored(stream: bytes) -> list[str]:
    """Modes that were switched on and not off again."""
    return list(_not_restored(stream))


def _not_restored(stream: bytes) -> Iterator[str]:
    for name, (on, off) in RESTORED.items():
        ons, offs = list(re.finditer(on, stream)), list(re.finditer(off, stream))
        if ons and (not offs or offs[-1].start() < ons[-1].start()):
            yield name


@dataclass
class Answers:
    """The replies of an xterm-like terminal, so that no program waits in vain.

    `kind` none answers nothing; modern also supports synchronized output (mode 2026).
    """

    cols: int
    rows: int
    kind: str = "modern"
    background: str = "dark"
    _tail: bytes = field(default=b"", init=False)

    def replies(self, chunk: bytes) -> bytes:
        """What to send back for the queries in `chunk`, those that began in the chunk before included."""
        if self.kind == "none":
            return b""
        data, out, last = self._tail + chunk, b"", 0
        for match in _QUERY.finditer(data):
            if match.end() > len(self._tail):
                last = match.end()
                out += self._reply(match)
        self._tail = data[max(last, len(data) - _LONGEST_QUERY) :]
        return out

    def _reply(self, match: re.Match[bytes]) -> bytes:
        kind = match.lastgroup or ""
        if kind in _FIXED:
            return _FIXED[kind]
        if kind == "dsr":
            return b"\x1b[0n" if match["dsr"] == b"5" else b"\x1b[1;1R"
        if kind == "decrqm":  # 2: known and off; 0: not known
            is_known = self.kind == "modern" and match["decrqm"] == b"2026"
            return b"\x1b[?" + match["decrqm"] + (b";2$y" if is_known else b";0$y")
        if kind == "win":
            pixels = (4, self.rows * 20, self.cols * 10)
            return (
                b"\x1b[%d;%d;%dt"
                % {b"14": pixels, b"16": (6, 20, 10), b"18": (8, self.rows, self.cols)}[match["win"]]
            )
        if kind == "osc":
            is_bright = (match["osc"] == b"10") == (self.background == "dark")
            level = b"ffff/ffff/ffff" if is_bright else b"0000/0000/0000"
            return b"\x1b]" + match["osc"] + b";rgb:" + level + b"\x1b\\"
        if kind == "tcap":
            return b"\x1bP0+r" + match["tcap"] + b"\x1b\\"
        return b""  # kitty's keyboard, XTVERSION: an older terminal stays silent
