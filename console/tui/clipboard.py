"""Copying through the terminal (OSC 52), also out of tmux and GNU screen: it works over SSH where no X does."""

import base64
from collections.abc import Mapping

MOST_BYTES = 74_994  # what xterm and tmux take, in base64


def osc52(text: str, environ: Mapping[str, str]) -> str | None:
    """The sequence that puts `text` into the terminal's clipboard; None when it is too long for one.

    Source: xterm's control sequences, "Operating System Commands", 52; tmux FAQ, "passthrough".
    """
    encoded = base64.b64encode(text.encode()).decode()
    if len(encoded) > MOST_BYTES:
        return None
    plain = f"\x1b]52;c;{encoded}\a"
    if environ.get("TMUX"):
        return f"\x1bPtmux;{plain.replace(chr(27), chr(27) * 2)}\x1b\\"
    if environ.get("TERM", "").startswith("screen"):
        return f"\x1bP{plain}\x1b\\"
    return plain
