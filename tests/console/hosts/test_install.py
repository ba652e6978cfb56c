"""`mtok host install` against a local sshd, as an ordinary user, ends with an agent that serves through the tunnel.

systemd is faked only where the machine has none.
"""

import asyncio
import contextlib
import getpass
import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.engine.make import ensure_model
from console.cli import main
from console.collector.build import build_account
from console.demo.files import free_port
from console.hosts.unit import unit_text
from console.settings import load_settings
from store.clock import SystemClock
from tests.console.hosts.fake_systemd import write_fakes
from tests.sshd import Sshd, fingerprint_of, running_sshd
from tests.wheels import ROOT, build_wheel, can_lend, lend

IN_FULL = bool(os.environ.get("MTOK_PROVE"))
PYTHON = "/usr/bin/python3"
SECRET = "c0ntr0l-s3cr3t-of-the-test"
SETTINGS = """
[budget]
daily_usd = "200"
[ssh]
known_hosts_file = "known_hosts"
config_file = "no-config"
[providers.cloud]
kind = "simulator"
base_url = "http://127.0.0.1:1"
api_key_file = "secret"
[[tiers]]
name = "h100"
provider = "cloud"
market = "spot"
instances = ["8429"]
agents = [{{ name = "h100-a", instance = "8429", ssh_user = "{user}", ssh_port = {port}, \
ssh_address = "127.0.0.1", ssh_key_file = "user", control_port = {control_port}, control_secret_file = "secret" }}]
"""


@dataclass
class World:
    """A console's folder, an sshd, and the home of an ordinary user behind it.

    `lent`: where Python looks for packages there before it looks into an environment of its own.
    """

    sshd: Sshd
    home: Path
    config: Path
    lent: Path

    def mtok(self, *words: str) -> int:
        return main(["host", *words, "--config", str(self.config)])

    @property
    def agent_home(self) -> Path:
        return self.home / ".local/share/mtok"


@contextlib.contextmanager
def ordinary_user(folder: Path) -> Iterator[str]:
    """A throwaway user whose home is `folder/home`; whoever runs the tests, where that is not root."""
    home = folder / "home"
    if os.geteuid() != 0:
        home.mkdir()
        yield getpass.getuser()
        return
    name = f"mtok{uuid.uuid4().hex[:8]}"
    subprocess.run(["useradd", "-m", "-d", str(home), "-s", "/bin/sh", "-p", "*", name], check=True)
    try:
        yield name
    finally:
        for pid in subprocess.run(
            ["pgrep", "-u", name], capture_output=True, text=True, check=False
        ).stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        # -f: a process that has ended, and whose parent has not asked for it yet, still counts as logged in
        subprocess.run(["userdel", "-f", "-r", name], check=False, capture_output=True)


@pytest.fixture
def world() -> Iterator[World]:
    has_systemd = Path("/run/systemd/system").exists()
    if has_systemd and os.geteuid() != 0:
        pytest.skip("not run: needs root to make a throwaway user with a service manager of its own")
    with tempfile.TemporaryDirectory(prefix="mtok-host-", dir="/tmp") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        user = stack.enter_context(ordinary_user(folder))
        options = [
            f"SetEnv PATH={folder / 'bin'}:/usr/local/bin:/usr/bin:/bin HOME={folder / 'home'} PIP_NO_COMPILE=1"
            f" PYTHONPATH={folder / 'lent'}"
        ]
        write_fakes(folder / "bin") if not has_systemd else give_manager(user)
        if has_systemd:
            options = []
        sshd = stack.enter_context(running_sshd(folder / "sshd", *options))
        (folder / "sshd").chmod(0o755)
        console = folder / "console"
        console.mkdir(mode=0o700)
        shutil.copy(sshd.folder / "user", console / "user")
        (console / "secret").write_text(SECRET, encoding="utf-8")
        config = console / "mtok.toml"
        text = SETTINGS.format(user=user, port=sshd.port, control_port=free_port())
        config.write_text(text, encoding="utf-8")
        yield World(sshd, folder / "home", config, folder / "lent")


def give_manager(user: str) -> None:
    """A service manager of the user's own, without a login."""
    subprocess.run(["loginctl", "enable-linger", user], check=True)
    bus = Path(f"/run/user/{pwd.getpwnam(user).pw_uid}/bus")
    for _ in range(100):
        if bus.exists():
            return
        time.sleep(0.1)
    pytest.fail("the user's service manager does not start")


def owned(path: Path, world: World) -> None:
    """Hand `path` to the ordinary user."""
    if os.geteuid() == 0:
        owner = world.home.stat()
        for part in [path, *path.rglob("*")]:
            os.chown(part, owner.st_uid, owner.st_gid)


@pytest.fixture
def no_wheel(tmp_path: Path) -> Path:
    """A file that is called like a wheel, for what ends before anything of it is installed."""
    path = tmp_path / "mtok-0.1.0-py3-none-any.whl"
    path.write_bytes(b"")
    return path


def test_a_host_is_trusted_by_its_fingerprint_alone(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    fingerprint = fingerprint_of(world.sshd.folder / "host.pub")
    assert world.mtok("check", "h100-a") == 1
    assert f"mtok host trust h100-a --fingerprint {fingerprint}" in capsys.readouterr().out
    assert world.mtok("trust", "h100-a") == 1
    assert fingerprint in capsys.readouterr().out
    assert world.mtok("trust", "h100-a", "--fingerprint", "SHA256:another") == 1
    assert "nothing was accepted" in capsys.readouterr().err
    known = world.config.parent / "known_hosts"
    assert not known.exists()
    known.write_text(f"9000 {world.sshd.host_key}\n8429,other ssh-ed25519 AAAAold\n", encoding="utf-8")
    assert world.mtok("trust", "h100", "--fingerprint", fingerprint) == 0
    assert known.read_text(encoding="utf-8").splitlines() == [
        f"9000 {world.sshd.host_key}",
        "other ssh-ed25519 AAAAold",
        f"8429 {world.sshd.host_key}",
    ]
    assert world.mtok("trust", "h100-a") == 0
    assert "is known" in capsys.readouterr().out


@pytest.mark.processes
def test_an_installed_agent_serves_through_the_tunnel(
    world: World, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = build_wheel(tmp_path_factory)
    if not IN_FULL and can_lend(PYTHON):  # pip there compares what the wheel asks for, and takes it alone
        lend(world.lent, wheel, "agent")
    (world.config.parent / "known_hosts").write_text(f"8429 {world.sshd.host_key}\n", encoding="utf-8")
    install = ["install", "h100-a", "--wheel", str(wheel), "--python", PYTHON]
    assert world.mtok(*install, "--dry-run") == 0
    told = capsys.readouterr().out
    assert told.count("would change") == 6
    assert not world.agent_home.exists()

    assert world.mtok(*install) == 1  # everything is there but the model
    assert "holds no model; copy a model there" in capsys.readouterr().err
    ensure_model(world.agent_home / "model")
    owned(world.agent_home / "model", world)
    assert world.mtok(*install) == 0
    told = capsys.readouterr().out
    assert "serves     mtok 0.1.0 answers through the tunnel" in told

    assert (world.agent_home / "control.secret").stat().st_mode & 0o777 == 0o600
    assert (world.agent_home / "control.secret").stat().st_uid == world.home.stat().st_uid
    again = install_again(world, install, capsys)
    assert asyncio.run(usage(world)) == 0

    assert world.mtok("check", "h100") == 0, capsys.readouterr()
    told = capsys.readouterr().out
    assert [line.split()[1] for line in told.splitlines()] == [
        "reachable",
        "python",
        "disk",
        "gpu",
        "clock",
        "agent",
    ]
    if not Path("/run/systemd/system").exists():
        assert world.mtok("logs", "h100-a", "-n", "3") == 0
        assert capsys.readouterr().out.strip()
        follow_and_interrupt(world)
    said = "".join(path.read_text(errors="replace") for path in world.home.glob("*.log"))
    assert SECRET not in said + told + again


def install_again(world: World, install: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """A second run changes nothing; answers what it said."""
    before = {path: path.stat().st_mtime_ns for path in world.agent_home.glob("*") if "ledger" not in path.name}
    assert world.mtok(*install) == 0
    captured = capsys.readouterr()
    assert "changed: " not in captured.out
    assert captured.out.count("as it was") == 7
    assert "nothing was changed" in captured.err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    return captured.out + captured.err


async def usage(world: World) -> int:
    """The tokens that the agent has generated, read as the collector reads them."""
    account = build_account(load_settings(world.config), SystemClock())
    try:
        return (await account.agents["h100-a"].usage()).totals.completion_tokens
    finally:
        await account.close()


def follow_and_interrupt(world: World) -> None:
    """`logs -f` shows a new line, and Ctrl-C ends it without a traceback."""
    obeys = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # however this suite was begun
    )
    code = f"{obeys}; import sys; from console.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "host", "logs", "h100-a", "-f", "-n", "0", "--config", str(world.config)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as following:
        assert following.stdout is not None
        line = ""
        for _ in range(100):
            with (world.home / "agent.log").open("a", encoding="utf-8") as log:
                log.write("a new line\n")
            if select.select([following.stdout], [], [], 0.1)[0]:
                line = following.stdout.readline()
                break
        following.send_signal(signal.SIGINT)
        try:
            _, errors = following.communicate(timeout=10)
        finally:
            following.kill()
    assert line == "a new line\n"
    assert following.returncode == 130
    assert errors == ""


def test_a_host_without_systemd_says_how_to_run_the_agent(
    world: World, no_wheel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if Path("/run/systemd/system").exists():
        pytest.skip("not run: this machine has systemd")
    (world.config.parent / "known_hosts").write_text(f"8429 {world.sshd.host_key}\n", encoding="utf-8")
    (world.sshd.folder.parent / "bin" / "systemctl").unlink()
    assert world.mtok("install", "h100-a", "--wheel", str(no_wheel), "--python", PYTHON, "--dry-run") == 1
    said = capsys.readouterr().err
    assert "there is no systemd" in said
    assert f"{world.agent_home}/venv/bin/mtok agent serve --config {world.agent_home}/agent.toml" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["install", "nobody"], "choose one of: h100-a"),
        (["install", "h100-a", "--wheel", "none.whl"], "is no wheel of mtok"),
        (["install", "h100-a", "--home", "a b"], "characters beside"),
        (["logs", "nobody"], "choose one of: h100-a"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    world: World, capsys: pytest.CaptureFixture[str], words: list[str], says: str, no_wheel: Path
) -> None:
    if "--home" in words:
        words = [*words, "--wheel", str(no_wheel)]
    assert world.mtok(*words) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("user", [None, "ubuntu"])
def test_systemd_understands_the_unit(tmp_path: Path, user: str | None) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("not run: no systemd-analyze here")
    unit = tmp_path / "mtok-agent.service"
    text = unit_text("/home/ubuntu/.local/share/mtok", user).replace(
        "ExecStart=/home/ubuntu/.local/share/mtok/venv/bin/mtok", "ExecStart=/bin/true"
    )
    unit.write_text(text, encoding="utf-8")
    ran = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert str(unit) not in ran.stderr
