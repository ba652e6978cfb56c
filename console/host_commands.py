"""`mtok host …`: GPU hosts over SSH, as their engineer: look, install, read the log, accept a key."""

import asyncio
import contextlib
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from console.collector.build import build_agent, control_secret
from console.errors import AgentUnreachable, HostKeyRefused, HostStepFailed, HostUnreachable
from console.host_access import chosen, only, reached
from console.hosts.agent_client import AgentClient
from console.hosts.check import check_host
from console.hosts.host import SshHost
from console.hosts.install import Install, Plan
from console.hosts.known_hosts import accept_key
from console.hosts.logs import agent_logs
from console.hosts.wheel import find_wheel
from console.settings import AgentSection, Settings, TierSection, load_settings
from console.settings_place import find_settings
from store.errors import ExitCode, SettingsError
from store.printable import printable

_SERVES_WITHIN_S = 60.0
_SAFE_ADDRESS = re.compile(r"[A-Za-z0-9.:\[\]-]+:\d{1,5}")
_SAFE_PATH = re.compile(r"[A-Za-z0-9._/-]+")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options of `mtok host install`."""

    wheel: Path | None = None
    wheelhouse: Path | None = None
    pip_args: str = ""
    python: str = "python3"
    home: str = ".local/share/mtok"
    model_dir: str | None = None
    public_address: str = "127.0.0.1:8700"
    as_system: bool = False
    dry_run: bool = False


def check_hosts(config: Path | None, name: str | None) -> int:
    """Print a line a finding on stdout; exit code 1 where something is not as it must be."""
    settings = load_settings(find_settings(config))
    wanted = chosen(settings, name)
    if not wanted:
        print(f"no agent in {settings.path} has an ssh_user: there is no host to check", file=sys.stderr)

    async def work() -> bool:
        return all(await asyncio.gather(*(_check(settings, tier, agent) for tier, agent in wanted)))

    return int(ExitCode.OK if asyncio.run(work()) else ExitCode.FAILED)


def install_host(config: Path | None, name: str, wanted: Wanted) -> int:
    """Install an agent on each host that `name` names, and see it serve through the tunnel.

    Raises:
        SettingsError: no such host, no wheel, no control secret.
        HostUnreachable: the host cannot be reached.
        HostStepFailed: something on it is not as it must be.
    """
    settings = load_settings(find_settings(config))
    hosts = chosen(settings, name)  # before a wheel is built for them
    with tempfile.TemporaryDirectory(prefix="mtok-") as scratch:
        wheel = find_wheel(wanted.wheel, Path(scratch))
        for tier, agent in hosts:
            asyncio.run(_install(settings, tier, agent, _plan(settings, tier, agent, wanted, wheel)))
    return int(ExitCode.OK)


def follow_logs(config: Path | None, name: str, *, follow: bool, last: int) -> None:
    """An agent's log on stdout.

    Raises:
        HostUnreachable: the host cannot be reached, or has no journal to read.
    """
    settings = load_settings(find_settings(config))
    agent = only(settings, name)

    async def work() -> None:
        async with reached(settings, agent) as host:
            async for line in agent_logs(host, follow=follow, last=last):
                print(printable(line), flush=True)

    asyncio.run(work())


def trust_host(config: Path | None, name: str, fingerprint: str | None) -> int:
    """Show the key of a host that is not known yet, and accept it where `fingerprint` is its fingerprint.

    Raises:
        HostUnreachable: the host cannot be reached, or it shows another key.
    """
    settings = load_settings(find_settings(config))
    agent = only(settings, name)
    refused = asyncio.run(_refusal(settings, agent))
    known_hosts = settings.ssh_target(agent).known_hosts_file
    if refused is None:
        print(f"{agent.name}: its host key is known in {known_hosts}")
        return int(ExitCode.OK)
    if fingerprint is None:
        print(f"{agent.name}: {refused.alias} shows {refused.fingerprint} ({refused.key.split()[0]})")
        print("compare it with what the machine itself says, on its provider's own console:", file=sys.stderr)
        print("  ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub", file=sys.stderr)
        print(
            f"if it is the same: mtok host trust {agent.name} --fingerprint {refused.fingerprint}", file=sys.stderr
        )
        return int(ExitCode.FAILED)
    if fingerprint != refused.fingerprint:
        problem = f"it shows {refused.fingerprint}, and not {fingerprint}"
        raise HostUnreachable(agent.name, problem, "nothing was accepted; somebody may be in between")
    accept_key(known_hosts, refused.alias, refused.key)
    print(f"{agent.name}: {refused.alias} is known by {refused.fingerprint} in {known_hosts}")
    return int(ExitCode.OK)


async def _check(settings: Settings, tier: TierSection, agent: AgentSection) -> bool:
    async with reached(settings, agent) as host, _client(settings, tier, agent, host) as client:
        findings = await check_host(host, client)
    for finding in findings:
        print(printable(f"{agent.name}  {finding.what:9}  {'ok' if finding.ok else 'NOT OK'}: {finding.detail}"))
    return all(finding.ok for finding in findings)


async def _install(settings: Settings, tier: TierSection, agent: AgentSection, plan: Plan) -> None:
    async with reached(settings, agent) as host:
        changed = False
        async for step in Install(host, plan).steps():
            changed = changed or step.changed
            word = ("would change" if plan.dry_run else "changed") if step.changed else "as it was"
            print(printable(f"{agent.name}  {step.what:9}  {word}: {step.detail}"), flush=True)
        if not plan.dry_run:
            version = await _serves(settings, tier, agent, host)
            print(printable(f"{agent.name}  serves     mtok {version} answers through the tunnel"))
        if not changed:
            print(f"{agent.name}: nothing was changed", file=sys.stderr)


async def _serves(settings: Settings, tier: TierSection, agent: AgentSection, host: SshHost) -> str:
    """The version of the agent, once it answers."""
    end_s = time.monotonic() + _SERVES_WITHIN_S
    async with _client(settings, tier, agent, host) as client:
        while True:
            try:
                return str((await client.status_body()).get("version"))
            except AgentUnreachable as error:
                if time.monotonic() > end_s:
                    problem = f"no answer within {_SERVES_WITHIN_S:g} s: {error.problem}"
                    raise HostStepFailed(
                        agent.name, "serves", problem, f"see mtok host logs {agent.name}"
                    ) from None
            await asyncio.sleep(0.5)


async def _refusal(settings: Settings, agent: AgentSection) -> HostKeyRefused | None:
    async with reached(settings, agent) as host:
        try:
            await host.connection()
        except HostKeyRefused as refused:
            return refused
    return None


@contextlib.asynccontextmanager
async def _client(
    settings: Settings, tier: TierSection, agent: AgentSection, host: SshHost
) -> AsyncIterator[AgentClient]:
    async with build_agent(settings, tier, agent, host) as client:
        yield client


def _plan(settings: Settings, tier: TierSection, agent: AgentSection, wanted: Wanted, wheel: Path) -> Plan:
    model_dir = wanted.model_dir or f"{wanted.home}/model"
    for option, path in (("--home", wanted.home), ("--model-dir", model_dir), ("--python", wanted.python)):
        if not _SAFE_PATH.fullmatch(path):
            raise SettingsError(
                f"{option} {path}", "has characters beside letters, digits and ._/-", "choose another"
            )
    if not _SAFE_ADDRESS.fullmatch(wanted.public_address):
        raise SettingsError("--public-address", "is no address", "write one such as 127.0.0.1:8700")
    if wanted.wheelhouse is not None and not wanted.wheelhouse.is_dir():
        raise SettingsError(f"--wheelhouse {wanted.wheelhouse}", "is no folder", "name one with wheels in it")
    return Plan(
        name=agent.name,
        wheel=wheel,
        secret=control_secret(settings, tier, agent),
        control_port=agent.control_port,
        home=wanted.home,
        model_dir=model_dir,
        public_address=wanted.public_address,
        python=wanted.python,
        wheelhouse=wanted.wheelhouse,
        pip_args=tuple(wanted.pip_args.split()),
        as_system=wanted.as_system,
        dry_run=wanted.dry_run,
    )
