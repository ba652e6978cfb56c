"""A real OpenSSH server for the tests: on a free port of loopback, with keys that nobody else has.

Without `sshd` (Debian: openssh-server) or `ssh-keygen` the tests that need it report *not run*.
"""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from console.demo.files import free_port
from console.hosts.target import SshTarget


@dataclass
class Sshd:
    """A running server. `host_key` is its public key, as known_hosts has it."""

    folder: Path
    port: int
    host_key: str
    process: subprocess.Popen[bytes]
    command: Sequence[str]

    def known_hosts(self, alias: str = "8429") -> Path:
        """A file that knows this server's key under `alias`."""
        path = self.folder / "known_hosts"
        path.write_text(f"{alias} {self.host_key}\n", encoding="utf-8")
        return path

    def target(self, **changes: object) -> SshTarget:
        """How this server is reached, by its user's key and with its host key known."""
        fields: dict[str, object] = {
            "user": getpass.getuser(),
            "alias": "8429",
            "address": "127.0.0.1",
            "port": self.port,
            "key_file": self.folder / "user",
            "known_hosts_file": self.folder / "known_hosts",
            "config_file": self.folder / "no-config",
            "connect_within_s": 5.0,
        }
        return SshTarget(**{**fields, **changes})  # type: ignore[arg-type]

    def sessions(self) -> list[int]:
        """The processes that serve a connection each."""
        found = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True, check=False
        )
        return [int(word) for word in found.stdout.split()]

    def kill_sessions(self) -> None:
        """End every connection, as a server that dies does; new ones are still accepted."""
        for pid in self.sessions():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """End the server and its connections."""
        self.kill_sessions()
        self.process.kill()
        self.process.wait()

    def start(self) -> None:
        """Start it again, where it was."""
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL)
        _wait_for(self.port)


def sshd_path() -> str:
    """The server's own path, which sshd insists on; without one the test is not run."""
    found = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None or shutil.which("ssh-keygen") is None:
        pytest.skip("not run: no OpenSSH server here (Debian: openssh-server)")
    return found


def make_key(path: Path, passphrase: str = "", kind: str = "ed25519") -> str:
    """Make a key pair; answers the public half, `ssh-ed25519 AAAA…`."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return " ".join(Path(f"{path}.pub").read_text(encoding="utf-8").split()[:2])


def fingerprint_of(public_key: Path) -> str:
    """`SHA256:…`, as ssh-keygen says it."""
    command = ["ssh-keygen", "-lf", str(public_key)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[1]


@contextlib.contextmanager
def running_agent(socket_path: Path, key: Path) -> Iterator[None]:
    """An SSH agent that carries `key`."""
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket_path)], stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            if socket_path.exists():
                break
            time.sleep(0.02)
        environment = {**os.environ, "SSH_AUTH_SOCK": str(socket_path)}
        subprocess.run(["ssh-add", "-q", str(key)], check=True, env=environment)
        yield
    finally:
        agent.terminate()
        agent.wait()


@contextlib.contextmanager
def running_sshd(folder: Path, *options: str, last: str = "") -> Iterator[Sshd]:
    """A server whose files lie in `folder`, with more lines of sshd_config; it lets `folder/user` in.

    `last`: what stands at the end, where blocks of `Match` have to.
    """
    path = sshd_path()
    folder.mkdir(parents=True, exist_ok=True)
    host_key = make_key(folder / "host")
    (folder / "authorized").write_text(f"{make_key(folder / 'user')}\n", encoding="utf-8")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd keeps nothing, and insists on it
    port = free_port()
    lines = [
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {folder / 'host'}",
        f"AuthorizedKeysFile {folder / 'authorized'}",
        "PidFile none",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin prohibit-password",
        "LogLevel ERROR",
        "Subsystem sftp internal-sftp",
    ]
    config = folder / "sshd_config"
    config.write_text("\n".join([*options, *lines, last, ""]), encoding="utf-8")  # the first of two lines counts
    command = [path, "-D", "-f", str(config), "-E", str(folder / "log")]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    server = Sshd(folder, port, host_key, process, command)
    server.known_hosts()
    try:
        _wait_for(port)
        yield server
    finally:
        server.stop()


def _wait_for(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    pytest.fail(f"sshd does not listen on port {port}")
