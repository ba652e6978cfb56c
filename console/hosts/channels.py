"""Two kinds of channel of an SSH connection: a byte stream to a port there, and a command's output as it comes.

Every call blocks. A channel is paramiko's, which raises whatever its own thread met: here that is an OSError.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from store.errors import MtokError


class Tunnel:
    """A byte stream to a port of the host's own loopback. Times out with TimeoutError, fails with OSError."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    @property
    def is_readable(self) -> bool:
        """Whether reading would answer at once: something has come, or the end."""
        return bool(self._channel.recv_ready() or self._channel.closed or self._channel.eof_received)

    def send(self, data: bytes, within_s: float | None) -> None:
        """Send all of `data`."""
        with _as_os_error():
            self._channel.settimeout(within_s)
            self._channel.sendall(data)

    def receive(self, max_bytes: int, within_s: float | None) -> bytes:
        """What has come, at least a byte; nothing at the end."""
        with _as_os_error():
            self._channel.settimeout(within_s)
            return bytes(self._channel.recv(max_bytes))

    def close(self) -> None:
        """End it."""
        close_quietly(self._channel)


class Output:
    """What a running command writes, stdout and stderr together, as it comes.

    `lost`: the error that says that the connection is gone, or None while it is there.
    """

    def __init__(self, channel: Any, lost: Callable[[], MtokError | None]) -> None:
        self._channel, self._lost = channel, lost

    def receive(self) -> bytes:
        """The next bytes, waiting for as long as it takes; nothing at the end.

        Raises:
            HostUnreachable: the connection was lost.
        """
        data = bytes(self._channel.recv(65536))
        if not data and (error := self._lost()) is not None:
            raise error
        return data

    def exit_code(self) -> int:
        """What the command ended with, once its output has ended."""
        return int(self._channel.recv_exit_status())

    def close(self) -> None:
        """Stop listening, which ends a command that writes."""
        close_quietly(self._channel)


def close_quietly(channel: Any) -> None:
    """Close a channel whose connection may be gone already."""
    with contextlib.suppress(OSError), _as_os_error():
        channel.close()


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(str(error) or type(error).__name__) from error
