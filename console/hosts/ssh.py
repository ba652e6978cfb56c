"""SSH: one authenticated connection to a host, through others where it must. The only file that imports paramiko.

Everything here blocks, is bounded in time, and may be called from several threads at once. A host key is what
known_hosts has under the host's alias, or the connection ends before anything is said; none is ever added here.
"""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm

from console.errors import HostKeyRefused, HostUnreachable
from console.hosts.channels import Output, Tunnel, close_quietly
from console.hosts.known_hosts import known_keys
from console.hosts.route import Hop, Options, route
from console.hosts.target import Ran, SshTarget
from store.errors import MtokError

# BLE001 below: what paramiko's thread meets, whatever it is, is raised to whoever waits
_MAX_OUTPUT_BYTES = 1_000_000  # of a command: more than anything that is asked here says
_PROHIBITED = 1  # RFC 4254, section 5.1: SSH_OPEN_ADMINISTRATIVELY_PROHIBITED


class Connection:
    """An authenticated connection to `place`. `transports`: of each machine on the way, the host's own last."""

    def __init__(self, name: str, transports: Sequence[paramiko.Transport], within_s: float, place: str) -> None:
        self.name, self.place = name, place
        self._transports, self._within_s = tuple(transports), within_s

    @property
    def is_up(self) -> bool:
        """Whether it is there, as far as anyone has noticed."""
        return all(transport.is_active() for transport in self._transports)

    def lost(self) -> HostUnreachable | None:
        """The error that says that it is gone."""
        return None if self.is_up else self._failed("the SSH connection was lost")

    def close(self) -> None:
        """End it, and everything that runs over it."""
        for transport in reversed(self._transports):
            with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
                transport.close()

    def tunnel(self, port: int, within_s: float | None = None) -> Tunnel:
        """A stream to `port` of the host's loopback.

        Raises:
            HostUnreachable: nobody listens there, the host allows no forwarding, or it does not answer.
        """
        try:
            return Tunnel(self._open("direct-tcpip", within_s, ("127.0.0.1", port)))
        except paramiko.ChannelException as error:
            if error.code == _PROHIBITED:
                problem = f"its sshd allows no forwarding to 127.0.0.1:{port}"
                raise HostUnreachable(self.name, problem, "see AllowTcpForwarding and PermitOpen there") from None
            problem = f"nothing listens on 127.0.0.1:{port} there"
            raise HostUnreachable(self.name, problem, "is the agent running?") from None

    def run(self, command: str, within_s: float) -> Ran:
        """Run `command` in the user's shell and wait for its end.

        Raises:
            HostUnreachable: no session, no end in time, or the connection was lost.
        """
        with self._session(within_s, f"`{command.split(maxsplit=1)[0]} …`") as channel:
            channel.exec_command(command)
            stdout, stderr = bytearray(), bytearray()
            reader = threading.Thread(target=_read, args=(channel.recv_stderr, stderr), daemon=True)
            reader.start()
            _read(channel.recv, stdout)
            reader.join()
            exit_code = channel.recv_exit_status()
        return Ran(exit_code, stdout.decode(errors="replace"), stderr.decode(errors="replace"))

    def put(self, path: str, content: bytes, mode: int, within_s: float) -> None:
        """Write a file by SFTP, in one step, so that it is never seen in part, nor with other rights than `mode`.

        Raises:
            HostUnreachable: no session, not in time, or it cannot be written.
        """
        with self._session(within_s, f"copying {path}") as channel:
            channel.invoke_subsystem("sftp")
            files = paramiko.SFTPClient(channel)
            draft = f"{path}.draft"
            try:
                with contextlib.suppress(FileNotFoundError):
                    files.remove(draft)
                with files.open(draft, "wx") as file:
                    file.chmod(mode)
                    file.set_pipelined(True)
                    file.write(content)
                files.posix_rename(draft, path)
            except OSError as error:
                if channel.closed:
                    raise
                reason = error.strerror or str(error)
                raise HostUnreachable(
                    self.name, f"cannot write {path}: {reason}", "check its rights and the free space"
                ) from None

    def start(self, command: str) -> Output:
        """Start `command`, whose output is read as it comes.

        Raises:
            HostUnreachable: no session, or the connection was lost.
        """
        channel = self._open_session()
        try:
            with _closing_after(self._within_s, channel):
                channel.set_combine_stderr(True)
                channel.exec_command(command)
        except Exception as error:  # noqa: BLE001
            raise self.lost() or self._failed(f"the command does not start: {_one_line(error)}") from None
        return Output(channel, self.lost)

    @contextlib.contextmanager
    def _session(self, within_s: float, what: str) -> Iterator[paramiko.Channel]:
        """A session for one thing, closed when it is done or when its time is over."""
        channel = self._open_session()
        problem = None
        with _closing_after(within_s, channel) as is_late:
            try:
                yield channel
            except MtokError:
                raise
            except Exception as error:  # noqa: BLE001
                problem = f"{what} failed: {_one_line(error)}"
            finally:
                close_quietly(channel)
        if is_late.is_set():
            problem = f"{what} did not end within {within_s:g} s"
        if (lost := self.lost()) is not None:
            raise lost
        if problem is not None:
            raise self._failed(problem)

    def _failed(self, problem: str) -> HostUnreachable:
        return HostUnreachable(self.name, problem, "the next use tries again")

    def _open_session(self) -> paramiko.Channel:
        try:
            return self._open("session", None)
        except paramiko.ChannelException:
            problem = "its sshd opens no more sessions on this connection"
            raise HostUnreachable(self.name, problem, "see MaxSessions there, or end another command") from None

    def _open(self, kind: str, within_s: float | None, address: tuple[str, int] | None = None) -> paramiko.Channel:
        """A channel. Whoever does not even answer this is gone, and so is the connection."""
        within_s = self._within_s if within_s is None else within_s
        end_s = time.monotonic() + within_s
        try:
            return self._transports[-1].open_channel(kind, address, ("127.0.0.1", 0), timeout=within_s)
        except paramiko.ChannelException:
            raise
        except Exception as error:  # noqa: BLE001
            if self.is_up and time.monotonic() >= end_s:
                self.close()
                problem = f"no answer within {within_s:g} s on a connection that seemed up"
                raise self._failed(problem) from None
            raise self.lost() or self._failed(_one_line(error)) from None


def connect(name: str, target: SshTarget, address: str | None) -> Connection:
    """Connect and log in to the host, through its jump hosts, within the target's time.

    Raises:
        HostKeyRefused: a host key is unknown or changed; nothing was said to that machine.
        HostUnreachable: no address, no answer, or no key that the host takes.
        SettingsError: known_hosts cannot be read.
    """
    logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)  # what it logs, with tracebacks, is raised too
    end_s = time.monotonic() + target.connect_within_s
    transports: list[paramiko.Transport] = []
    streams: list[Any] = []
    place = ""
    try:
        for hop in _route(name, target, address):
            place = hop.place
            left_s = max(end_s - time.monotonic(), 0.1)
            with _explained(name, hop, target.connect_within_s, end_s):
                stream = _stream(hop, transports, left_s, target.keepalive_s)
                streams.append(stream)
                transport = paramiko.Transport(stream)
                transports.append(transport)
                _agree(transport, name, hop, target.known_hosts_file, left_s)
                _log_in(transport, name, hop)
                transport.set_keepalive(max(round(target.keepalive_s), 1))
    except BaseException:
        Connection(name, transports, 0, "").close()
        for stream in streams:  # one that was never spoken on is nobody's yet
            close_quietly(stream)
        raise
    return Connection(name, transports, target.connect_within_s, place)


def _route(name: str, target: SshTarget, address: str | None) -> Sequence[Hop]:
    """The way there, or one line: whatever the machine and its files hold is this host's trouble alone."""
    try:
        return route(name, target, address, lambda host: _options(name, target.config_file, host))
    except MtokError:
        raise
    except Exception as error:  # noqa: BLE001
        problem = f"its way leads nowhere: {_one_line(error)}"
        raise HostUnreachable(name, problem, f"see its section and {target.config_file}") from None


def _options(name: str, path: Path, host: str) -> Options:
    """What the file says of `host`; nothing where there is no file."""
    try:
        options: Options = paramiko.SSHConfig.from_path(path.expanduser()).lookup(host)
    except FileNotFoundError:
        return {}
    except Exception as error:  # noqa: BLE001
        problem = f"{path} cannot be used: {_one_line(error)}"
        raise HostUnreachable(name, problem, "mend it, or set ssh.config_file") from None
    return options


def _stream(hop: Hop, through: Sequence[paramiko.Transport], within_s: float, keepalive_s: float) -> Any:
    """What the transport to `hop` runs on: a channel of the machine before it, or a socket."""
    if through:
        return through[-1].open_channel("direct-tcpip", (hop.address, hop.port), ("127.0.0.1", 0), timeout=within_s)
    stream = socket.create_connection((hop.address, hop.port), within_s)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # a keepalive that nobody acknowledges ends the connection
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(2000 * keepalive_s))
    return stream


def _agree(transport: paramiko.Transport, name: str, hop: Hop, known_hosts: Path, within_s: float) -> None:
    """Agree on keys with the machine, and make sure that it is the one that is known."""
    transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = within_s
    known, revoked = known_keys(known_hosts, hop.alias)
    kinds = {key.split()[0] for key in known}
    security = transport.get_security_options()
    if kinds:  # ask for a key of a kind that we can compare
        security.key_types = sorted(security.key_types, key=lambda kind: _plain(kind) not in kinds)
    transport.start_client(timeout=within_s)
    shown = transport.get_remote_server_key()
    key = f"{shown.get_name()} {shown.get_base64()}"
    if key in revoked:
        raise HostUnreachable(
            name, f"the host key of {hop.alias}, {shown.fingerprint}, is revoked", "trust it never"
        )
    if key not in known:
        raise HostKeyRefused(name, hop.alias, key, shown.fingerprint, is_changed=bool(known))


def _plain(kind: str) -> str:
    return "ssh-rsa" if kind.startswith("rsa-sha2-") else kind


def _log_in(transport: paramiko.Transport, name: str, hop: Hop) -> None:
    """Offer one key after the other."""
    agent = paramiko.Agent()
    notes: list[str] = []
    try:
        for label, key in _keys(hop, agent, notes):
            try:
                further = transport.auth_publickey(hop.user, key)
            except paramiko.BadAuthenticationType:
                raise HostUnreachable(
                    name, f"{hop.place} takes no keys", "see PubkeyAuthentication there"
                ) from None
            except paramiko.AuthenticationException:
                if not transport.is_active():
                    raise
                notes.append(f"{label} is refused")
                continue
            if not further:
                return
            notes.append(f"{label} is not enough: it also asks for {', '.join(further)}")
    finally:
        agent.close()
    problem = f"{hop.place} lets nobody in: {'; '.join(notes) or 'there is no key to offer'}"
    remedy = "add the public key to ~/.ssh/authorized_keys there, or set ssh_key_file"
    raise HostUnreachable(name, problem, remedy)


def _keys(hop: Hop, agent: paramiko.Agent, notes: list[str]) -> Iterator[tuple[str, paramiko.PKey]]:
    for path in hop.key_files:
        try:
            yield f"key {path}", paramiko.PKey.from_path(path)
        except (TypeError, paramiko.PasswordRequiredException):
            notes.append(f"key {path} is encrypted, and mtok asks for no passphrase: ssh-add {path}")
        except OSError as error:
            notes.append(f"key {path} cannot be read: {error.strerror}")
        except (ValueError, paramiko.UnknownKeyType, paramiko.SSHException, UnsupportedAlgorithm):
            notes.append(f"{path} is no private key that can be used")
    public = {_public(path) for path in hop.key_files}
    for key in agent.get_keys():
        if hop.any_agent_key or key.get_base64() in public:
            yield f"the SSH agent's key {key.fingerprint}", key


def _public(path: Path) -> str:
    """The public half of a key file, as a line of its own file has it; nothing where there is none."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return Path(f"{path}.pub").read_text(encoding="utf-8").split()[1]
    return ""


@contextlib.contextmanager
def _explained(name: str, hop: Hop, within_s: float, end_s: float) -> Iterator[None]:
    """One line for whatever goes wrong on the way to `hop`."""
    try:
        yield
    except TimeoutError:
        problem = f"no answer from {hop.place} within {within_s:g} s"
        raise HostUnreachable(name, problem, "is it awake, and does its firewall let you in?") from None
    except paramiko.ChannelException:
        remedy = "does its sshd run, and may the jump host forward to it?"
        raise HostUnreachable(name, f"the jump host cannot connect to {hop.place}", remedy) from None
    except (socket.gaierror, ConnectionError) as error:
        problem = f"cannot connect to {hop.place}: {error.strerror or _one_line(error)}"
        raise HostUnreachable(name, problem, "does its sshd run, and are address and port right?") from None
    except MtokError:
        raise
    except Exception as error:  # noqa: BLE001
        is_late = time.monotonic() >= end_s - 0.1
        problem = (
            f"{hop.place} accepts connections and does not answer within {within_s:g} s"
            if is_late
            else f"no SSH connection to {hop.place}: {_one_line(error)}"
        )
        raise HostUnreachable(name, problem, "look at its sshd and its load") from None


@contextlib.contextmanager
def _closing_after(within_s: float, channel: paramiko.Channel) -> Iterator[threading.Event]:
    """Close `channel` when the time is over, which ends every wait on it; the event says that it was so."""
    is_late = threading.Event()

    def close() -> None:
        is_late.set()
        close_quietly(channel)

    timer = threading.Timer(within_s, close)
    timer.daemon = True
    timer.start()
    try:
        yield is_late
    finally:
        timer.cancel()


def _read(receive: Any, into: bytearray) -> None:
    """Read to the end; what is too much is read and dropped, so that the command is not held up."""
    while data := receive(65536):
        into += data[: _MAX_OUTPUT_BYTES - len(into)]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
