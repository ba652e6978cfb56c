"""A collector inside the console's process, in a thread with a loop of its own."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from console.settings import Settings
from store.clock import SystemClock
from store.database import Database

_ENDS_WITHIN_S = 5.0


@contextmanager
def collecting(database: Database, settings: Settings, *, wanted: bool) -> Iterator[str]:
    """Collect while the block runs, if that is wanted and possible; yields a note for the screen."""
    why_not = _why_not(settings) if wanted else "it was started with --no-collect"
    if why_not is not None:
        yield f"this console does not collect: {why_not}"
        return
    from console.collector.build import build_collector
    from console.collector.schedule import Schedule
    from store.logs import silence_logs

    silence_logs()
    ready = threading.Event()
    handle: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def work() -> None:
        stop = asyncio.Event()
        handle.append((asyncio.get_running_loop(), stop))
        ready.set()
        collector = build_collector(database, settings, SystemClock())
        try:
            await Schedule(collector).run(stop)
        finally:
            await collector.account.close()

    thread = threading.Thread(target=lambda: asyncio.run(work()), name="collector", daemon=True)
    thread.start()
    ready.wait()
    try:
        yield "this console collects when nobody else does"
    finally:
        loop, stop = handle[0]
        with suppress(RuntimeError):  # its loop is closed: it has ended already
            loop.call_soon_threadsafe(stop.set)
        thread.join(_ENDS_WITHIN_S)


def _why_not(settings: Settings) -> str | None:
    # paramiko, httpx and APScheduler: a quarter of the start of a console that does not collect
    from console.collector.build import why_not_lead

    return why_not_lead(settings)
