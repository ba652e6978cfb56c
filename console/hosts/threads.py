"""Blocking calls beside the event loop: a thread of its own for each.

asyncio's own executor has a handful of threads, which the store needs; one host that hangs would take them
from everybody else. A thread costs little beside a call over the network, and a daemon thread that waits for
a dead host does not hold up the end of the process.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")


def in_background(what: str, call: Callable[[], Result]) -> Future[Result]:
    """Start `call` in a thread; the future has its result, and cannot be cancelled."""
    future: Future[Result] = Future()
    future.set_running_or_notify_cancel()

    def work() -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001   handed over whole to whoever waits
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=work, name=what, daemon=True).start()
    return future


async def in_thread(what: str, call: Callable[[], Result]) -> Result:
    """The result of `call`, which blocks. Whoever stops waiting leaves it to end by itself."""
    return await asyncio.wrap_future(in_background(what, call))
