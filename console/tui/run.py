"""Runs the screen to its end, and ends it even when its terminal has gone."""

import os
import signal
import termios
import threading

from console.tui.app import MtokApp

_GONE_WITHIN_S = 8.0  # longer than the store's busy timeout: what was being written is written, or was not


def run_screen(app: MtokApp, *, has_mouse: bool = True) -> int:
    """Draw until it is quit; answers the exit code.

    A terminal that has gone cannot be put back, and a write to it may block for ever: the process ends anyway.
    """
    app.on_hangup = _end_soon
    try:
        app.run(mouse=has_mouse)
    except (OSError, termios.error):  # the terminal went while it was being put back
        if not app.is_hung_up:
            raise
    return 128 + signal.SIGHUP if app.is_hung_up else app.return_code or 0


def _end_soon() -> None:
    timer = threading.Timer(_GONE_WITHIN_S, os._exit, (128 + signal.SIGHUP,))
    timer.daemon = True
    timer.start()
