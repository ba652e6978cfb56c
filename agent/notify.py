"""What the service manager is told of an agent: it lives as long as its engine's thread goes round."""

import asyncio

from agent.scheduler import WEDGED_AFTER_S, Scheduler
from store.notify import Notifier as AnyNotifier


class Notifier(AnyNotifier):
    """Tells systemd; without one it says nothing."""

    async def keep_alive(self, scheduler: Scheduler) -> None:
        """Say that this process lives, as long as the engine's thread goes round."""
        while self.beats_every_s:
            if scheduler.engine is not None and scheduler.heartbeat_age_s < WEDGED_AFTER_S:
                self.tell("WATCHDOG=1")
            await asyncio.sleep(self.beats_every_s)
