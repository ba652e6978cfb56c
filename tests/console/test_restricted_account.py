"""The account for on-call of contrib/ssh, over a real sshd: it sees mtok, and nothing else happens."""

import getpass
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.fleet_world import fleet_world
from tests.sshd import Sshd, running_sshd
from tests.terminal import TerminalGone, on_pty

pytestmark = pytest.mark.processes
ROOT = Path(__file__).parents[2]
BLOCK = (ROOT / "contrib" / "ssh" / "mtok-oncall.conf").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def oncall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A server with the block as it is delivered, for this user and this checkout's mtok."""
    folder = tmp_path_factory.mktemp("oncall")
    world = fleet_world(folder, minutes=4)
    world.database.close()
    block = BLOCK.replace("/etc/mtok/mtok.toml", str(world.settings.path))
    block = block.replace("/opt/mtok/bin/mtok", str(Path(sys.executable).parent / "mtok"))
    assert "Match User oncall\n" in block
    block = block.replace("Match User oncall\n", f"Match User {getpass.getuser()}\n")
    with running_sshd(folder / "sshd", "PermitUserEnvironment no", last=block) as server:
        yield server


def ssh(server: Sshd, *words: str) -> list[str]:
    options = {
        "UserKnownHostsFile": server.known_hosts(),
        "HostKeyAlias": "8429",
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "LogLevel": "ERROR",
    }
    said = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    base = ["ssh", "-F", "none", "-p", str(server.port), "-i", str(server.folder / "user"), *said]
    return [*base, *words]


def ran(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
    )


def test_without_a_terminal_it_gets_the_status_whatever_it_asks_for(oncall: Sshd) -> None:
    done = ran(ssh(oncall, "127.0.0.1", "id; touch made"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("gate CLOSED")
    assert "h100" in done.stdout
    assert "uid=" not in done.stdout
    assert not (Path.home() / "made").exists()


def test_neither_sftp_nor_a_way_through_is_given(oncall: Sshd) -> None:
    assert ran(ssh(oncall, "-s", "127.0.0.1", "sftp")).stdout.startswith("gate CLOSED")
    done = ran(ssh(oncall, "-W", f"127.0.0.1:{oncall.port}", "127.0.0.1"))
    assert done.returncode != 0
    assert "SSH-2.0" not in done.stdout


def test_with_a_terminal_it_gets_a_console_that_changes_nothing(oncall: Sshd) -> None:
    with on_pty(ssh(oncall, "-tt", "127.0.0.1", "sh"), cols=120, rows=40) as terminal:
        terminal.until(lambda text: "a100" in text and "read-only" in text.lower(), 60)
        terminal.press(b"h", b"!", b"\x1a")  # hibernate, and what opens a shell or stops a program elsewhere
        terminal.watch(0.5)
        assert "read-only" in terminal.text.lower()
        terminal.press(b"q")
        with pytest.raises(TerminalGone):
            terminal.watch(20)
