"""What the service manager hears of a collector: it lives as long as it goes on asking for the lead."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from console.collector.schedule import Schedule
from store.notify import Notifier

_WEDGED_AFTER_S = 60.0  # it asks every few seconds, and no answer of the store takes longer than its busy timeout


@contextlib.asynccontextmanager
async def announced(schedule: Schedule, notifier: Notifier) -> AsyncIterator[None]:
    """Ready when the block begins: settings, secrets and store can be used. Stopping when it ends."""
    notifier.tell("READY=1", "STATUS=starting")
    beating = asyncio.create_task(_keep_alive(schedule, notifier))
    try:
        yield
    finally:
        beating.cancel()
        notifier.tell("STOPPING=1")


async def _keep_alive(schedule: Schedule, notifier: Notifier) -> None:
    while notifier.beats_every_s:
        await asyncio.sleep(notifier.beats_every_s)
        if schedule.silent_for_s < _WEDGED_AFTER_S:
            notifier.tell("WATCHDOG=1", f"STATUS={'leading' if schedule.leads else 'standing by'}")
