"""A collector inside the console's process, in a thread with a loop of its own."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from console.settings import Settings
from store.clock import SystemClock
from store.errors import MtokError

if TYPE_CHECKING:
    from store.database import Database

_ENDS_WITHIN_S = 5.0


class InsideCollector:
    """Collects from `start` to `stop`, where nobody else does; `tell` hears from its thread whether it may.

    It opens `database`, and imports all that a collector needs, in its thread: nobody waits for it.
    """

    def __init__(
        self, database: "Callable[[], Database]", settings: Settings, tell: Callable[[str], object]
    ) -> None:
        self._database, self._settings, self._tell = database, settings, tell
        self._thread = threading.Thread(target=self._work, name="collector", daemon=True)
        self._is_over = threading.Event()
        self._end: Callable[[], object] | None = None  # once there is a loop to tell

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Step down, and wait for what is under way; one that is being imported has nothing to end."""
        self._is_over.set()
        if self._end is not None:
            with suppress(RuntimeError):  # its loop is closed: it has ended already
                self._end()
            self._thread.join(_ENDS_WITHIN_S)

    def _work(self) -> None:
        # paramiko, httpx and APScheduler take longer to import than the screen to draw
        from console.collector.build import why_not_lead
        from store.logs import silence_logs

        silence_logs()
        why_not = why_not_lead(self._settings)
        if why_not is not None:
            self._tell(f"this console does not collect: {why_not}")
            return
        try:
            asyncio.run(self._collect())
        except MtokError as error:
            self._tell(f"this console does not collect: {error}")

    async def _collect(self) -> None:
        from console.collector.build import build_collector
        from console.collector.schedule import Schedule

        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        self._end = lambda: loop.call_soon_threadsafe(stop.set)
        if self._is_over.is_set():
            return
        collector = build_collector(self._database(), self._settings, SystemClock())
        self._tell("this console collects when nobody else does")
        try:
            await Schedule(collector).run(stop)
        finally:
            await collector.account.close()
