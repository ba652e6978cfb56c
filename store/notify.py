"""What the service manager is told: ready, alive, stopping. By hand, over NOTIFY_SOCKET.

Source: sd_notify(3) and systemd.service(5), systemd 255.
"""

import contextlib
import os
import socket
from collections.abc import Mapping


class Notifier:
    """Tells systemd; without one it says nothing. `beats_every_s`: how often it wants to hear, None for never."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        watched = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        interval_us = environment.get("WATCHDOG_USEC", "")
        # twice within the interval, as sd_watchdog_enabled(3) advises
        self.beats_every_s = int(interval_us) / 2e6 if watched and interval_us.isdecimal() else None

    def tell(self, *lines: str) -> None:
        """Send assignments such as `READY=1`; a manager that does not listen is none of our troubles."""
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto("\n".join(lines).encode(), self._address)
