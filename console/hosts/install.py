"""`mtok host install`: an agent on a host, step by step. What is there already as it should be is left alone.

Nothing secret is on a command line, nor in what is said: the control secret goes by SFTP into a file of 0600.
"""

import hashlib
import shlex
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from console.errors import HostStepFailed
from console.hosts.host import SshHost
from console.hosts.unit import NAME, unit_text

_QUICK_S, _COPY_S, _PIP_S = 30.0, 300.0, 900.0
_ENV = 'export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}"; '

_LOOK = """
echo "uid=$(id -u)"
echo "user=$(id -un)"
echo "home=$HOME"
echo "python=$({python} -c 'import sys, ensurepip, venv; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)"
for file in control.secret mtok-agent.service installed; do
  echo "$file=$([ -f {home}/$file ] && sha256sum < {home}/$file | cut -c1-64)"
done
for file in venv/bin/python agent.toml keys restart; do echo "$file=$([ -e {home}/$file ] && echo yes)"; done
echo "model=$([ -e {model}/config.json ] && echo yes)"
systemctl --user show-environment >/dev/null 2>&1 && echo "user_manager=yes"
systemctl show-environment >/dev/null 2>&1 && echo "system_manager=yes"
sudo -n true 2>/dev/null && echo "sudo=yes"
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be installed. `home` and `model_dir` are paths there, from the user's home where relative.

    `as_system`: a system unit, by root or by sudo; else the user's own, unless the user is root.
    """

    name: str
    wheel: Path
    secret: str
    control_port: int
    home: str = ".local/share/mtok"
    model_dir: str = ".local/share/mtok/model"
    public_address: str = "127.0.0.1:8700"
    python: str = "python3"
    wheelhouse: Path | None = None
    pip_args: tuple[str, ...] = ()
    as_system: bool = False
    dry_run: bool = False

    @property
    def fingerprint(self) -> str:
        """What stands in the host's file `installed` once exactly this has been installed."""
        digest = hashlib.sha256(self.wheel.read_bytes())
        digest.update(repr((self.python, self.pip_args, self.wheelhouse is not None)).encode())
        return f"{digest.hexdigest()}\n"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: whether it changed something, or would have, and what."""

    what: str
    changed: bool
    detail: str


class Install:
    """One installation on one host."""

    def __init__(self, host: SshHost, plan: Plan) -> None:
        self._host, self._plan = host, plan
        self._said: Mapping[str, str] = {}
        self._needs_restart = False

    async def steps(self) -> AsyncIterator[Step]:
        """Carry it out; each step is yielded when it is done.

        Raises:
            HostUnreachable: the host cannot be reached, or not any more.
            HostStepFailed: the host lacks something, or a command failed there.
        """
        await self._look()
        yield Step("host", changed=False, detail=f"{self._said['user']}, Python {self._said['python']}")
        for step in (self._packages, self._secret, self._settings, self._keys, self._unit, self._start):
            yield await step()

    async def _look(self) -> None:
        plan = self._plan
        home, model, python = (shlex.quote(path) for path in (plan.home, plan.model_dir, plan.python))
        ran = await self._host.run(_ENV + _LOOK.format(home=home, model=model, python=python), within_s=_QUICK_S)
        self._said = said = dict(line.split("=", 1) for line in ran.stdout.splitlines() if "=" in line)
        self._needs_restart = bool(said.get("restart"))  # an installation that was broken off
        version = tuple(int(part) for part in said.get("python", "").split(".") if part.isdigit())
        if version < (3, 11):
            problem = f"{plan.python} is {said['python']}" if version else f"{plan.python} with venv is not there"
            raise self._failed("python", problem, "install Python 3.11 or newer with venv, or name it by --python")
        if plan.as_system and said["uid"] != "0" and "sudo" not in said:
            raise self._failed("unit", "a system unit needs root or sudo without a password", "leave out --system")

    async def _packages(self) -> Step:
        plan, wanted = self._plan, self._plan.fingerprint
        if self._said["installed"] == _sha256(wanted.encode()) and self._said["venv/bin/python"]:
            return Step("packages", changed=False, detail=plan.wheel.name)
        await self._mark_restart()
        if not plan.dry_run:
            await self._copy_wheels()
            if not self._said["venv/bin/python"]:
                await self._run("venv", f"{shlex.quote(plan.python)} -m venv {self._path('venv')}", _PIP_S)
            wheel, pip = self._path(f"wheels/{plan.wheel.name}"), f"{self._path('venv/bin/pip')} install --quiet"
            offline = f" --no-index --find-links {self._path('wheels')}" if plan.wheelhouse else ""
            options = " ".join(["--disable-pip-version-check", *map(shlex.quote, plan.pip_args)]) + offline
            await self._run("packages", f"{pip} {options} {wheel}'[agent]'", _PIP_S)
            # of the same version, another wheel would not be taken
            await self._run("packages", f"{pip} {options} --force-reinstall --no-deps {wheel}", _PIP_S)
            await self._put("installed", wanted.encode(), 0o600)
        return Step(
            "packages", changed=True, detail=f"{plan.wheel.name}, with what an agent needs, into {plan.home}"
        )

    async def _mark_restart(self) -> None:
        """Note there, before anything is changed, that what runs is not what is installed."""
        self._needs_restart = True
        if not self._plan.dry_run:
            home, mark = self._path(), self._path("restart")
            await self._run("home", f"mkdir -p {home} && chmod 700 {home} && touch {mark}")

    async def _copy_wheels(self) -> None:
        plan = self._plan
        await self._run("wheel", f"mkdir -p {self._path('wheels')}")
        beside = sorted(plan.wheelhouse.glob("*.whl")) if plan.wheelhouse else []
        there = set((await self._run("wheel", f"ls {self._path('wheels')}")).split())
        for path in [plan.wheel, *(path for path in beside if path.name not in there)]:
            await self._put(f"wheels/{path.name}", path.read_bytes(), 0o600)

    async def _secret(self) -> Step:
        content = f"{self._plan.secret}\n".encode()
        if self._said["control.secret"] == _sha256(content):
            return Step("secret", changed=False, detail="control.secret")
        await self._mark_restart()
        await self._put("control.secret", content, 0o600)
        return Step("secret", changed=True, detail="control.secret, for its owner alone")

    async def _settings(self) -> Step:
        if self._said["agent.toml"]:
            return Step("settings", changed=False, detail="agent.toml, as it stands there")
        plan = self._plan
        model_dir = plan.model_dir if plan.model_dir.startswith("/") else f"{self._said['home']}/{plan.model_dir}"
        text = (
            f'name = "{plan.name}"\n'
            f'public_address = "{plan.public_address}"\n'
            f'control_address = "127.0.0.1:{plan.control_port}"\n'
            'control_secret_file = "control.secret"\n'
            'keys_file = "keys"\n'
            'ledger = "ledger.db"\n'
            f'model_dir = "{model_dir}"\n'
            'engine = "reference"\n'
        )
        await self._put("agent.toml", text.encode(), 0o600)
        return Step("settings", changed=True, detail=f"agent.toml, with the model in {model_dir}")

    async def _keys(self) -> Step:
        if self._said["keys"]:
            return Step("keys", changed=False, detail="keys, as they stand there")
        await self._put("keys", b"# keys of the public API, one a line: label sha256-of-the-key\n", 0o600)
        return Step("keys", changed=True, detail="keys, empty: nobody may ask yet")

    async def _unit(self) -> Step:
        if self._manager is None:
            command = f"{self._home}/venv/bin/mtok agent serve --config {self._home}/agent.toml"
            raise self._failed(
                "unit", "there is no systemd that this user may ask", f"start it yourself: {command}"
            )
        content = unit_text(self._home, self._said["user"] if self._is_system else None).encode()
        if self._said["mtok-agent.service"] == _sha256(content):
            return Step("unit", changed=False, detail=NAME)
        await self._mark_restart()
        if not self._plan.dry_run:
            await self._put(NAME, content, 0o600)
            folder = "/etc/systemd/system" if self._is_system else '"$HOME"/.config/systemd/user'
            await self._run("unit", f"{self._sudo}install -D -m 644 {self._path(NAME)} {folder}/{NAME}")
            await self._run("unit", f"{self._manager} daemon-reload && {self._manager} enable {NAME}")
        linger = (
            ""
            if self._is_system
            else f"; to serve after a logout: sudo loginctl enable-linger {self._said['user']}"
        )
        return Step("unit", changed=True, detail=f"{NAME}{linger}")

    async def _start(self) -> Step:
        if not self._said["model"]:
            remedy = "copy a model there, then run this again"
            problem = f"{self._plan.model_dir} holds no model"
            if not self._plan.dry_run:
                raise self._failed("start", problem, remedy)
            return Step("start", changed=True, detail=f"not before this: {problem}; {remedy}")
        is_active = (
            await self._host.run(f"{_ENV}{self._manager} is-active {NAME}", within_s=_QUICK_S)
        ).exit_code == 0
        if is_active and not self._needs_restart:
            return Step("start", changed=False, detail="it runs")
        if not self._plan.dry_run:
            await self._run("start", f"{self._manager} restart --no-block {NAME} && rm -f {self._path('restart')}")
        return Step("start", changed=True, detail="started again" if is_active else "started")

    @property
    def _is_system(self) -> bool:
        return self._plan.as_system or self._said["uid"] == "0"

    @property
    def _sudo(self) -> str:
        return "sudo -n " if self._is_system and self._said["uid"] != "0" else ""

    @property
    def _manager(self) -> str | None:
        """How to ask systemd there, or None where there is none."""
        if self._is_system:
            return f"{self._sudo}systemctl" if "system_manager" in self._said else None
        return "systemctl --user" if "user_manager" in self._said else None

    @property
    def _home(self) -> str:
        home = self._plan.home
        return home if home.startswith("/") else f"{self._said['home']}/{home}"

    def _path(self, name: str = "") -> str:
        return shlex.quote(f"{self._home}/{name}" if name else self._home)

    async def _put(self, name: str, content: bytes, mode: int) -> None:
        if not self._plan.dry_run:
            await self._host.put(f"{self._home}/{name}", content, mode=mode, within_s=_COPY_S)

    async def _run(self, step: str, command: str, within_s: float = _QUICK_S) -> str:
        ran = await self._host.run(_ENV + command, within_s=within_s)
        if ran.exit_code:
            said = (ran.stderr or ran.stdout).strip().splitlines()[-1:]
            problem = f"exit code {ran.exit_code}{': ' if said else ''}{''.join(said)}"
            raise self._failed(step, problem, "mend that there, then run this again")
        return ran.stdout

    def _failed(self, step: str, problem: str, remedy: str) -> HostStepFailed:
        return HostStepFailed(self._host.name, step, problem, remedy)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
