"""A collector inside the console's process, in a thread with a loop of its own."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from console.loading import LOADING
from console.settings import Settings
from store.clock import SystemClock
from store.errors import MtokError, StoreUnreachable

if TYPE_CHECKING:
    from store.database import Database

_ENDS_WITHIN_S = 5.0
_OPENS_AGAIN_S = 1.0


class InsideCollector:
    """Collects from `start` to `stop`, where nobody else does.

    It imports all that a collector needs, and opens `database`, in its thread: nobody waits for it. `tell` hears
    from there why it does not collect, and None once it does; a store that does not answer is asked again.
    """

    def __init__(
        self, database: "Callable[[], Database]", settings: Settings, tell: Callable[[str | None], object]
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
        try:
            # paramiko, httpx and APScheduler take longer to import than the screen to draw
            with LOADING:
                from console.collector.build import why_not_lead
                from store.logs import silence_logs

            silence_logs()
            why_not = why_not_lead(self._settings)
            if why_not is None:
                asyncio.run(self._collect())
            else:
                self._tell(why_not)
        except Exception as error:  # noqa: BLE001 - whatever it is: that nobody collects must be said
            self._tell(str(error) if isinstance(error, MtokError) else f"{type(error).__name__}: {error}")

    async def _collect(self) -> None:
        with LOADING:
            from console.collector.build import build_collector
            from console.collector.schedule import Schedule

        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        self._end = lambda: loop.call_soon_threadsafe(stop.set)
        if self._is_over.is_set():
            return
        database = await self._opened(stop)
        if database is None:
            return
        collector = build_collector(database, self._settings, SystemClock())
        self._tell(None)
        try:
            await Schedule(collector).run(stop)
        finally:
            await collector.account.close()

    async def _opened(self, stop: asyncio.Event) -> "Database | None":
        """The store, once it answers; None where it is all over before."""
        why_not = None
        while not stop.is_set():
            try:
                return self._database()
            except StoreUnreachable as error:
                if str(error) != why_not:
                    why_not = str(error)
                    self._tell(why_not)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _OPENS_AGAIN_S)
        return None
