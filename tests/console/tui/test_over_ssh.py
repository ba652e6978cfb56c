"""The console as an engineer reaches it: `ssh -t` to a real sshd, also when the connection drops in the middle."""

import getpass
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from subprocess import PIPE

import pytest

from store.journal_read import entries
from tests.console.fleet_world import FleetWorld
from tests.console.tui.confirmed import open_dialog, shows_the_fleet, type_name
from tests.console.tui.live_store import asked, console_of, live_world, nobody_left
from tests.sshd import Sshd, running_sshd
from tests.terminal import on_pty

pytestmark = pytest.mark.processes
_DROPS_S = [n / 100 for n in range(20)] if os.environ.get("MTOK_PROVE") else [0.02]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def world(tmp_path: Path) -> Iterator[FleetWorld]:
    made = live_world(tmp_path)
    yield made
    made.database.close()


def ssh(sshd: Sshd, command: Sequence[str], *options: str) -> list[str]:
    """A client that runs `command` on the server, which knows nothing of whoever runs this test."""
    quoted = " ".join(f"'{word}'" for word in command)
    known = f"UserKnownHostsFile={sshd.folder / 'known_hosts'}"
    lines = ("HostKeyAlias=8429", known, "StrictHostKeyChecking=yes", "IdentitiesOnly=yes", "LogLevel=ERROR")
    return [
        "ssh",
        *("-F", "none", "-p", str(sshd.port), "-i", str(sshd.folder / "user")),
        *(word for line in lines for word in ("-o", line)),
        *options,
        f"{getpass.getuser()}@127.0.0.1",
        f"cd {Path.cwd()} && LC_ALL=C.UTF-8 exec {quoted}",
    ]


def test_a_tier_is_hibernated_from_afar(sshd: Sshd, world: FleetWorld) -> None:
    command = ssh(sshd, console_of(world), "-tt")
    with nobody_left(world), on_pty(command) as terminal:
        terminal.until(shows_the_fleet)
        name = open_dialog(terminal)
        type_name(terminal, name)
        assert asked(world) == []
        terminal.press(b"\r")
        terminal.until(lambda text: f"hibernate of {name} asked" in text)
        terminal.press(b"q")
        assert terminal.ended() == 0
        assert terminal.left_on() == set()
    assert asked(world) == [name]
    with world.database.read() as session:
        (entry,) = entries(session, 1)
    assert entry.actor == f"{getpass.getuser()}@127.0.0.1"


@pytest.mark.parametrize("after_s", _DROPS_S)
def test_a_connection_that_drops_leaves_all_of_an_action_or_nothing(
    sshd: Sshd, world: FleetWorld, after_s: float
) -> None:
    command = ssh(sshd, console_of(world), "-tt")
    with nobody_left(world), on_pty(command) as terminal:
        terminal.until(shows_the_fleet)
        open_dialog(terminal)  # dropped while it asks: nothing
        terminal.signal(signal.SIGKILL)
    assert asked(world) == []
    with nobody_left(world), on_pty(command) as terminal:
        terminal.until(shows_the_fleet)
        name = open_dialog(terminal, b"j")
        type_name(terminal, name)
        terminal.press(b"\r")
        time.sleep(after_s)
        terminal.signal(signal.SIGKILL)
    assert asked(world) in ([name], [])


def test_a_terminal_without_a_cursor_is_refused_with_another_way(sshd: Sshd, world: FleetWorld) -> None:
    with on_pty(ssh(sshd, console_of(world), "-t"), environ={"TERM": "dumb"}) as terminal:
        assert terminal.ended() == 1
        assert "use `mtok console --plain`" in terminal.text.replace("\n", "")


def test_the_plain_console_is_driven_by_lines(sshd: Sshd, world: FleetWorld) -> None:
    command = ssh(sshd, console_of(world, "--plain"), "-T")
    with nobody_left(world), subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(b"hibernate l40\nl40\n")  # at once, and the input stays open
        client.stdin.flush()
        said = b""
        while b"asked; the collector carries it out" not in said:
            line = client.stdout.readline()
            assert line, said
            said += line
        assert b"tier l40: serving" in said
        assert asked(world) == ["l40"]
        client.stdin.write(b"quit\n")
        assert client.communicate(timeout=60)[1] == b""
        assert client.returncode == 0
