"""`mtok host check`: what a host must have to serve, one finding each, from one command and one request there."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

from console.errors import AgentUnreachable, HostUnreachable
from console.hosts.agent_client import AgentClient
from console.hosts.host import SshHost
from store.errors import MtokError

_WITHIN_S = 20.0
_MIN_FREE_BYTES = 2_000_000_000  # the environment of an agent, its ledger, and room to work
_MAX_SKEW = timedelta(seconds=5)  # a lease is timed by monotonic clocks; the ledger's instants are not
_PYTHON = (3, 11)

_PROBE = r"""
echo "clock=$(date +%s.%N)"
python=$(python3 -c 'import sys, ensurepip, venv; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null)
echo "python=$python"
echo "free_kb=$(df -Pk "$HOME" | awk 'NR == 2 { print $4 }')"
if command -v nvidia-smi >/dev/null 2>&1; then
  asked=name,memory.total,driver_version
  echo "gpu=$(nvidia-smi --query-gpu=$asked --format=csv,noheader 2>&1 | head -8 | paste -sd ';')"
fi
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str


async def check_host(host: SshHost, agent: AgentClient) -> tuple[Finding, ...]:
    """Reach the host, ask it for what it has, and ask its agent for its version."""
    try:
        connection = await host.connection()
        before = datetime.now(UTC)
        ran = await host.run(_PROBE, within_s=_WITHIN_S)
        after = datetime.now(UTC)
    except MtokError as error:
        return (Finding("reachable", False, _why(error)),)
    said = dict(line.split("=", 1) for line in ran.stdout.splitlines() if "=" in line)
    return (
        Finding("reachable", True, f"{connection.place}, host key known as {host.target.alias}"),
        _python(said),
        _disk(said),
        Finding(
            "gpu", "failed" not in said.get("gpu", ""), said.get("gpu") or "none found: nvidia-smi is not there"
        ),
        _clock(said, before, after),
        await _agent(agent),
    )


def _python(said: Mapping[str, str]) -> Finding:
    text = said.get("python", "")
    parts = tuple(int(part) for part in text.split(".") if part.isdigit())
    if not parts:
        return Finding("python", False, "python3 with venv is not there; install python3 and python3-venv")
    return Finding("python", parts >= _PYTHON, text if parts >= _PYTHON else f"{text} is older than 3.11")


def _disk(said: Mapping[str, str]) -> Finding:
    text = said.get("free_kb", "")
    if not text.isdigit():
        return Finding("disk", False, "df does not say how much is free")
    free = int(text) * 1024
    return Finding("disk", free >= _MIN_FREE_BYTES, f"{free / 1e9:.1f} GB free in the home directory")


def _clock(said: Mapping[str, str], before: datetime, after: datetime) -> Finding:
    """The skew is known no better than the command took."""
    try:
        there = datetime.fromtimestamp(float(said["clock"]), UTC)
    except (KeyError, ValueError):
        return Finding("clock", False, "date does not say the time")
    skew = max(there - after, before - there, timedelta(0))
    return Finding("clock", skew <= _MAX_SKEW, f"{skew.total_seconds():.1f} s away from here")


async def _agent(agent: AgentClient) -> Finding:
    try:
        status = await agent.status_body()
    except AgentUnreachable as error:
        return Finding("agent", False, f"{error.problem}; {error.remedy}")
    there, here = str(status.get("version")), version("mtok")
    return Finding("agent", there == here, there if there == here else f"{there}, and {here} is here")


def _why(error: MtokError) -> str:
    return f"{error.problem}; {error.remedy}" if isinstance(error, HostUnreachable) else str(error)
