"""What the console adds to the tree in `store/errors.py`.

MtokError
├── ProviderError            3
│   ├── ProviderRefused          the provider said no: 4xx, a wrong state
│   ├── ProviderUnreadable       an answer that is not what its documents say
│   └── ProviderUnreachable      no answer: refused, dropped, timed out, 5xx, 429
├── AgentUnreachable         1
└── ClockApart               1   our clock is off: nothing may be dated by it
"""

from datetime import datetime, timedelta

from store.errors import ExitCode, MtokError


class ProviderError(MtokError):
    """A provider did not give what was asked."""

    exit_code = ExitCode.PROVIDER

    def __init__(self, provider: str, call: str, problem: str, remedy: str = "the next tick asks again") -> None:
        super().__init__(f"{provider}: {call}: {problem}; {remedy}")
        self.provider, self.call, self.problem = provider, call, problem


class ProviderRefused(ProviderError):
    """The provider answered, and the answer is no."""


class ProviderUnreadable(ProviderError):
    """The provider's answer is not in the documented shape."""


class ProviderUnreachable(ProviderError):
    """The provider gave no usable answer."""


class AgentUnreachable(MtokError):
    """An agent's control API did not answer as documented."""

    def __init__(self, agent: str, problem: str) -> None:
        super().__init__(f"agent {agent}: {problem}; is it running, and is its control address right?")
        self.agent, self.problem = agent, problem


class ClockApart(MtokError):
    """Our clock and every provider's disagree, and nobody has vouched for ours: nothing may be dated by it."""

    def __init__(self, at: datetime, apart: timedelta) -> None:
        super().__init__(
            f"tick of {at.isoformat()}: this machine's clock is {apart.total_seconds():.0f} s away from every "
            "provider's; nothing was written; set it"
        )
        self.at, self.apart = at, apart
