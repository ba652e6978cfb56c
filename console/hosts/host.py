"""A host as the rest of the console sees it: one SSH connection, shared, made anew when it has to be."""

import asyncio
import codecs
import threading
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

from console.errors import HostUnreachable
from console.hosts.channels import Tunnel
from console.hosts.ssh import Connection, connect
from console.hosts.target import Ran, SshTarget
from console.hosts.threads import in_background, in_thread
from store.errors import MtokError

Result = TypeVar("Result")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
_LONGEST_LINE = 65_536
_GRACE_S = 1.0  # that a host which failed last time may hold up whoever asks


class SshHost:
    """One host. Safe from any thread and any event loop; nothing here blocks the caller's loop.

    An attempt to connect is made by one for all. After one that failed there is a pause, twice as long each time,
    in which everybody is answered at once with what went wrong; after that the next attempt holds up whoever
    asks for a second at most, and goes on behind their back.
    """

    def __init__(self, name: str, target: SshTarget, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self.name, self.target = name, target
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._address = target.address
        self._attempt: Future[Connection] | None = None  # under way, or the connection in use
        self._problem: MtokError | None = None
        self._pause_s, self._again_at_s = _FIRST_PAUSE_S, 0.0

    @property
    def address(self) -> str | None:
        """Where the host is now, as far as it is known."""
        return self._address

    @address.setter
    def address(self, address: str | None) -> None:
        """Another address is another connection: the one in use is dropped, with everything that runs over it."""
        with self._lock:
            if address == self._address:
                return
            self._address = address
            dropped = self._forget()
        _discard(dropped)

    def expect(self) -> None:
        """It is being woken and may come up at any moment: pauses are short again."""
        with self._lock:
            self._pause_s = _FIRST_PAUSE_S
            self._again_at_s = min(self._again_at_s, self._monotonic_s() + _FIRST_PAUSE_S)

    async def reach(self) -> str | None:
        """None when an authenticated connection is up; else why not, in one line."""
        try:
            await self.connection()
        except MtokError as error:
            return getattr(error, "problem", None) or str(error)
        return None

    async def connection(self) -> Connection:
        """The connection in use, after connecting where there is none.

        Raises:
            HostKeyRefused: the host's key is unknown or changed.
            HostUnreachable: it cannot be reached, or could not a moment ago.
            SettingsError: known_hosts cannot be read.
        """
        attempt, patience_s = self._join()
        try:
            async with asyncio.timeout(patience_s):
                return await asyncio.wrap_future(attempt)
        except TimeoutError:
            raise self._still_trying(attempt) from None

    async def run(self, command: str, *, within_s: float) -> Ran:
        """Run a command in the user's shell there and wait for its end.

        Raises:
            HostUnreachable: no connection or session, no end in time, or the connection was lost.
        """
        return await self._use(lambda connection: connection.run(command, within_s))

    async def put(self, path: str, content: bytes, *, mode: int, within_s: float) -> None:
        """Write a file there by SFTP, whole or not at all; a relative path starts at the user's home.

        Raises:
            HostUnreachable: no connection or session, not in time, or it cannot be written.
        """
        await self._use(lambda connection: connection.put(path, content, mode, within_s))

    async def tunnel(self, port: int, within_s: float | None = None) -> Tunnel:
        """A stream to `port` of the host's loopback. Its calls block: they belong into threads.

        Raises:
            HostUnreachable: no connection, nobody listens there, or forwarding is not allowed.
        """
        return await self._use(lambda connection: connection.tunnel(port, within_s))

    async def lines(self, command: str) -> AsyncGenerator[str, None]:
        """What a command writes, line by line as it comes; closing the iterator ends it.

        Raises:
            HostUnreachable: no connection or session, the connection was lost, or the command failed.
        """
        output = await self._use(lambda connection: connection.start(command))
        decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        rest = ""
        try:
            while data := await in_thread(f"{self.name}: output", output.receive):
                *whole, rest = (rest + decode(data)).split("\n")
                for line in whole:
                    yield line.removesuffix("\r")
                if len(rest) > _LONGEST_LINE:  # a host that never ends its line must not fill our memory
                    yield rest
                    rest = ""
            if rest:
                yield rest
            exit_code = await in_thread(f"{self.name}: exit code", output.exit_code)
        finally:
            in_background(f"{self.name}: end of output", output.close)
        if exit_code:
            raise HostUnreachable(self.name, f"the command ended with exit code {exit_code}", "see what it said")

    async def close(self) -> None:
        """End the connection. The next use would connect again."""
        with self._lock:
            dropped = self._forget()
        if dropped is not None and not dropped.done():
            _discard(dropped)  # it ends by itself, within its time
        elif dropped is not None and dropped.exception() is None:
            await in_thread(f"{self.name}: close", dropped.result().close)

    async def _use(self, call: Callable[[Connection], Result]) -> Result:
        connection = await self.connection()
        return await in_thread(f"{self.name}: call", partial(call, connection))

    def _join(self) -> tuple[Future[Connection], float]:
        """The attempt that everybody waits for, started where there is none, and for how long to wait."""
        with self._lock:
            attempt, is_new = self._attempt, False
            if attempt is None or (attempt.done() and not _is_up(attempt)):
                if self._problem is not None and self._monotonic_s() < self._again_at_s:
                    raise self._problem.with_traceback(None)
                begin = partial(connect, self.name, self.target, self._address)
                attempt, is_new = in_background(f"{self.name}: ssh", begin), True
                self._attempt = attempt
            patience_s = self.target.connect_within_s if self._problem is None else _GRACE_S
        if is_new:
            attempt.add_done_callback(self._note)  # outside the lock: it may be over already, and takes the lock
        return attempt, patience_s

    def _note(self, attempt: Future[Connection]) -> None:
        """Remember how an attempt ended, unless another address has come meanwhile."""
        error = attempt.exception()
        with self._lock:
            if attempt is not self._attempt:
                return
            if error is None:
                self._problem, self._pause_s = None, _FIRST_PAUSE_S
            elif isinstance(error, MtokError):
                self._problem = error
                self._again_at_s = self._monotonic_s() + self._pause_s
                self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)

    def _still_trying(self, attempt: Future[Connection]) -> MtokError:
        with self._lock:
            if self._problem is None and attempt is self._attempt:
                problem = f"no connection within {self.target.connect_within_s:g} s"
                self._problem = HostUnreachable(self.name, problem, "it goes on trying")
            return self._problem or HostUnreachable(self.name, "its address has changed", "ask again")

    def _forget(self) -> Future[Connection] | None:
        """Take the attempt away and start afresh; under the lock."""
        attempt, self._attempt = self._attempt, None
        self._problem, self._pause_s, self._again_at_s = None, _FIRST_PAUSE_S, 0.0
        return attempt


def _is_up(attempt: Future[Connection]) -> bool:
    return attempt.exception() is None and attempt.result().is_up


def _discard(attempt: Future[Connection] | None) -> None:
    """Close the connection of an attempt that nobody waits for any more, now or when it is made."""

    def close(done: Future[Connection]) -> None:
        if done.exception() is None:
            in_background("ssh: close", done.result().close)

    if attempt is not None:
        attempt.add_done_callback(close)
