"""The two listening sockets: taken before anything costly, so that a port in use is known at once."""

import contextlib
import resource
import socket
from pathlib import Path

from agent.settings import AgentSettings
from store.addresses import split_address
from store.errors import SettingsError

_VANISHED_AFTER_MS = 30_000
_OTHER_FILES = 256
_OPTIONS = (  # a client whose machine is gone, or that reads no more, is found out
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _VANISHED_AFTER_MS),
)


def allow_connections(most: int) -> None:
    """Let this process hold so many connections, as far as the system allows: often only 1024 files at first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * most + _OTHER_FILES  # both servers count for themselves
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


class Sockets:
    """Where the public API and the control API listen."""

    def __init__(self, settings: AgentSettings) -> None:
        """Listen on both addresses.

        Raises:
            SettingsError: an address is in use, or is not this machine's.
        """
        self.public = _listening(settings, "public_address", settings.public_address)
        path = settings.control_socket
        self.control = (
            _listening(settings, "control_address", settings.control_address)
            if path is None
            else _listening_at(settings, path)
        )


def _listening(settings: AgentSettings, name: str, address: str) -> socket.socket:
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise _refused(settings, name, address, error, "free the port, or choose another") from None
    return _begun(listening)


def _listening_at(settings: AgentSettings, path: Path) -> socket.socket:
    """A Unix socket that its owner and group may use; one that a dead agent left is replaced."""
    if path.is_socket() and not _answers(path):
        path.unlink()
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(str(path))
        path.chmod(0o660)
    except OSError as error:
        listening.close()
        raise _refused(settings, "control_address", path, error, "remove it, or choose another path") from None
    return _begun(listening)


def _answers(path: Path) -> bool:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
        return probe.connect_ex(str(path)) == 0


def _begun(listening: socket.socket) -> socket.socket:
    if listening.family != socket.AF_UNIX:
        for level, option, value in _OPTIONS:  # Linux: whatever is accepted inherits them, tcp(7)
            listening.setsockopt(level, option, value)
    listening.listen(1024)
    listening.setblocking(False)
    return listening


def _refused(settings: AgentSettings, name: str, where: object, error: OSError, remedy: str) -> SettingsError:
    problem = f"cannot listen on {where}: {error.strerror or error}"
    return SettingsError(f"{settings.path}: {name}", problem, remedy)
