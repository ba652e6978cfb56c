"""What the service manager is told: ready, alive, stopping. By hand, over NOTIFY_SOCKET.

Source: sd_notify(3) and systemd.service(5), systemd 255.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping

from agent.scheduler import WEDGED_AFTER_S, Scheduler


class Notifier:
    """Tells systemd; without one it says nothing."""

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

    async def keep_alive(self, scheduler: Scheduler) -> None:
        """Say that this process lives, as long as the engine's thread goes round."""
        while self.beats_every_s:
            if scheduler.engine is not None and scheduler.heartbeat_age_s < WEDGED_AFTER_S:
                self.tell("WATCHDOG=1")
            await asyncio.sleep(self.beats_every_s)
