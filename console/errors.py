"""What the console adds to the tree in `store/errors.py`.

MtokError
├── ProviderError            3
├── KindRefused              2   a kind of provider that cannot be had
│   ├── KindUnknown              no package here registers it
│   ├── KindBroken               its package cannot be used
│   └── KindUntried              it has no simulator
├── AgentUnreachable         1
├── HostUnreachable          1   no authenticated SSH connection, or none any more
│   └── HostKeyRefused           its key is unknown, or not the one that is known
├── HostStepFailed           1   the host answered, and something on it is not as it must be
└── ClockApart               1   our clock is off: nothing may be dated by it
"""

from collections.abc import Sequence
from datetime import datetime

from store.errors import ExitCode, MtokError
from store.printable import named

_LONGEST = 1_000  # of what others say in a message of ours


class ProviderError(MtokError):
    """A provider did not give what was asked."""

    exit_code = ExitCode.PROVIDER

    def __init__(self, provider: str, call: str, problem: str, remedy: str = "the next tick asks again") -> None:
        problem = named(problem, _LONGEST)  # it may quote the provider
        super().__init__(f"{provider}: {call}: {problem}; {remedy}")
        self.provider, self.call, self.problem = provider, call, problem


class KindRefused(MtokError):
    """A kind of provider that the settings name and that cannot be had."""

    exit_code = ExitCode.USAGE


class KindUnknown(KindRefused):
    """No package here registers this kind."""

    def __init__(self, kind: str, known: Sequence[str]) -> None:
        super().__init__(f"there is no kind of provider {kind!r}; choose one of: {', '.join(known)}")
        self.kind, self.known = kind, known


class KindBroken(KindRefused):
    """The package that registers this kind cannot be used."""

    def __init__(self, kind: str, problem: str) -> None:
        super().__init__(f"kind of provider {kind!r}: {problem}; mend or remove that package")
        self.kind, self.problem = kind, problem


class KindUntried(KindRefused):
    """A kind without a simulator: nothing can be tried."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"kind of provider {kind!r}: has no simulator to be tried against; see docs/providers.md")
        self.kind = kind


class AgentUnreachable(MtokError):
    """An agent's control API did not answer as documented."""

    def __init__(
        self, agent: str, problem: str, remedy: str = "is it running, and is its control address right?"
    ) -> None:
        problem = named(problem, _LONGEST)
        super().__init__(f"agent {agent}: {problem}; {remedy}")
        self.agent, self.problem, self.remedy = agent, problem, remedy


class HostUnreachable(MtokError):
    """A host cannot be used over SSH."""

    def __init__(self, host: str, problem: str, remedy: str) -> None:
        problem = named(problem, _LONGEST)
        super().__init__(f"host {host}: {problem}; {remedy}")
        self.host, self.problem, self.remedy = host, problem, remedy


class HostKeyRefused(HostUnreachable):
    """A host showed a key that known_hosts does not have for it. `alias` is its name there.

    `key` is what the host showed, as known_hosts would have it: `ssh-ed25519 AAAA…`.
    """

    def __init__(self, host: str, alias: str, key: str, fingerprint: str, *, is_changed: bool) -> None:
        what = "is not the one that is known" if is_changed else "is not known"
        accept = f"mtok host trust {host} --fingerprint {fingerprint}"
        super().__init__(
            host,
            f"the host key of {alias}, {fingerprint}, {what}",
            f"compare it with the machine's own, then accept it: {accept}",
        )
        self.alias, self.key, self.fingerprint, self.is_changed = alias, key, fingerprint, is_changed


class HostStepFailed(MtokError):
    """A step on a host failed; what came before it is done."""

    def __init__(self, host: str, step: str, problem: str, remedy: str) -> None:
        problem = named(problem, _LONGEST)
        super().__init__(f"host {host}: {step}: {problem}; {remedy}")
        self.host, self.step, self.problem, self.remedy = host, step, problem, remedy


class ClockApart(MtokError):
    """No provider has vouched for our clock: nothing may be dated by it."""

    def __init__(self, at: datetime, problem: str) -> None:
        super().__init__(f"tick of {at.isoformat()}: this machine's clock {problem}; nothing was written")
        self.at, self.problem = at, problem
