"""Leases to the agents: who holds which nonce, and the push that follows each verdict."""

import asyncio
from collections.abc import Collection, Mapping

import structlog

from console.errors import AgentUnreachable
from console.hosts.agent_client import AgentClient
from store.gate import GatePolicy, Reason, Verdict
from store.lease import LeaseGrant, grant

log = structlog.get_logger()


class Leases:
    """Pushes a verdict to the agents. `tier_of` names each agent's tier.

    `highest_fence`: the highest that an agent has answered with. Above ours, the store that it came from is lost.
    """

    def __init__(self, policy: GatePolicy, clients: Mapping[str, AgentClient], tier_of: Mapping[str, str]) -> None:
        self._policy, self._clients, self._tier_of = policy, clients, tier_of
        self._nonces: dict[str, str] = {}
        self._count = 0
        self.highest_fence = 0

    def learn(self, agent: str, nonce: str | None) -> None:
        """Remember the nonce of an agent's last answer; None when it did not answer."""
        if nonce is None:
            self._nonces.pop(agent, None)
        else:
            self._nonces[agent] = nonce

    async def push(
        self,
        verdict: Verdict,
        fence: int,
        draining: Collection[str],
        within_s: float,
        agents: Collection[str] | None = None,
    ) -> Mapping[str, bool]:
        """Give every reachable agent, or these, its lease, concurrently; answers who confirmed: open or closed.

        A slow agent never delays another; whoever missed a lease is asked again at the next push, and
        its old lease runs out by itself.
        """
        if Reason.UNOBSERVED in verdict.reasons and Reason.MANUAL not in verdict.reasons:
            return {}  # a store that knows nothing yet renews no lease, and revokes none
        jobs = [
            self._push_one(agent, nonce, verdict, fence, self._tier_of[agent] in draining, within_s)
            for agent, nonce in self._nonces.items()
            if agents is None or agent in agents
        ]
        answers = await asyncio.gather(*jobs)
        return {agent: is_open for agent, is_open in answers if is_open is not None}

    async def _push_one(
        self, agent: str, nonce: str, verdict: Verdict, fence: int, is_draining: bool, within_s: float
    ) -> tuple[str, bool | None]:
        self._count += 1
        seq, tier = (fence, self._count), self._tier_of[agent]
        lease: LeaseGrant = grant(self._policy, verdict, nonce, seq, tier, is_draining=is_draining)
        try:
            async with asyncio.timeout(within_s):
                newer_fence = await self._clients[agent].lease(lease)
        except AgentUnreachable as error:
            log.warning("lease not delivered", agent=agent, problem=error.problem)
            return agent, None
        except TimeoutError:
            log.warning("lease not delivered", agent=agent, problem=f"no answer within {within_s:g} s")
            return agent, None
        if newer_fence is None:
            return agent, lease.is_open
        log.warning("lease refused", agent=agent, problem="the agent holds a newer one, or has restarted")
        self.highest_fence = max(self.highest_fence, newer_fence)
        return agent, None
