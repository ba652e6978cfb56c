"""Runs the screen to its end."""

import signal
import termios

from console.signals import held_back
from console.tui.app import MtokApp


def run_screen(app: MtokApp, *, has_mouse: bool = True) -> int:
    """Draw until it is quit; answers the exit code. A terminal that has gone cannot be put back.

    The driver switches the terminal's modes long before the app can have handlers: signals wait for those.
    """
    try:
        with held_back():
            app.run(mouse=has_mouse)
    except (OSError, termios.error):  # the terminal went while it was being put back
        if not app.is_hung_up:
            raise
    finally:
        app.has_ended()
    return 128 + signal.SIGHUP if app.is_hung_up else app.return_code or 0
