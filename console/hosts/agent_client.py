"""An agent's control API, as the collector calls it (DESIGN section 10)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Annotated, Any

import httpx
from pydantic import BaseModel, Field, ValidationError

from console.errors import AgentUnreachable, HostUnreachable
from console.hosts.agent_machine import AgentMachine, Instant, machine_of
from console.trust import trusted
from store.errors import SettingsError
from store.keys import KeyUsage
from store.lease import LeaseGrant
from store.printable import named
from store.readings import LedgerTotals

RESERVED = "mtok."  # labels of our own probes and benchmarks
_MOST_LABELS = 10_000
_HIGHEST_FENCE = 2**62  # leadership counts on from what an agent says: never to the end of the numbers
# a host may be a thief's: what no database holds, alone or added up, would end the tick of the whole fleet
_Count = Annotated[int, Field(ge=0, lt=2**53)]
_OfLabel = Annotated[int, Field(ge=0, lt=2**48)]
_Small = Annotated[int, Field(ge=0, lt=2**31)]


class _Label(BaseModel):
    requests: _OfLabel = 0
    prompt_tokens: _OfLabel = 0
    completion_tokens: _OfLabel = 0


class _Usage(BaseModel):
    ledger: str = Field(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$")
    ledger_created_at: Instant
    nonce: str = Field(min_length=16, max_length=256)
    prompt_tokens: _Count
    cached_tokens: _Count
    completion_tokens: _Count
    delivered_tokens: _Count
    requests: _Count
    busy_ms: _Count
    in_flight: _Small
    last_token_at: Instant | None
    labels: dict[str, _Label] = Field(default={}, max_length=_MOST_LABELS)


@dataclass(frozen=True, slots=True)
class AgentUsage:
    """An agent's answer to `GET /control/usage`. A lease that echoes `nonce` counts from its issue.

    `labels`: by a key's label, what it has used over the ledger's whole life.
    """

    totals: LedgerTotals
    nonce: str
    in_flight: int
    last_token_at: datetime | None
    labels: Mapping[str, KeyUsage] = field(default_factory=dict)
    machine: AgentMachine = field(default_factory=AgentMachine)


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """An agent's answer to `GET /control/status`. `is_loaded`: its weights are; `engine` is the line for people."""

    engine: str
    model: str
    quantisation: str
    version: str
    is_loaded: bool


def _fence_of(answer: httpx.Response) -> int:
    """The fence of the lease in force, as a refusal states it."""
    try:
        fence, _ = answer.json()["seq"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return 0
    return fence if isinstance(fence, int) and 0 <= fence <= _HIGHEST_FENCE else 0


class AgentClient:
    """The control API of one agent. Every call has a deadline and is sent once."""

    def __init__(
        self,
        agent: str,
        control_url: str,
        secret: str,
        timeout_s: float = 5.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.agent = agent
        self._client = httpx.AsyncClient(
            base_url=control_url,
            headers={"Authorization": f"Bearer {secret}"},
            timeout=timeout_s,
            transport=transport,
            verify=trusted(),
        )

    async def usage(self) -> AgentUsage:
        """The ledger's totals, in flight requests, and a nonce for the next lease.

        Raises:
            AgentUnreachable: no answer, or not in the documented shape.
        """
        body = await self._call("GET", "/control/usage")
        try:
            usage = _Usage.model_validate(body)
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(str(part) for part in fault["loc"])
            raise AgentUnreachable(self.agent, f"usage: {where}: {fault['msg']}") from None
        reserved = [label for name, label in usage.labels.items() if name.startswith(RESERVED)]
        totals = LedgerTotals(
            uuid=usage.ledger,
            created_at=usage.ledger_created_at,
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=usage.cached_tokens,
            completion_tokens=usage.completion_tokens,
            delivered_tokens=usage.delivered_tokens,
            requests=usage.requests,
            busy_ms=usage.busy_ms,
            reserved_prompt_tokens=sum(label.prompt_tokens for label in reserved),
            reserved_completion_tokens=sum(label.completion_tokens for label in reserved),
        )
        labels = {
            named(name): KeyUsage(label.requests, label.prompt_tokens, label.completion_tokens)
            for name, label in usage.labels.items()
        }
        machine = machine_of(self.agent, body)
        return AgentUsage(totals, usage.nonce, usage.in_flight, usage.last_token_at, labels, machine)

    async def lease(self, grant: LeaseGrant) -> int | None:
        """Hand a lease over. None when it is in force now; else the fence of the one that is, 0 where none is.

        It is refused when the agent holds a newer one, or no longer knows the nonce.

        Raises:
            AgentUnreachable: no answer, or an error.
        """
        answer = await self._send("PUT", "/control/lease", grant.body())
        if answer.status_code == httpx.codes.CONFLICT:
            return _fence_of(answer)
        self._json(answer)
        return None

    async def status(self) -> AgentStatus:
        """What the agent says it is and runs.

        Raises:
            AgentUnreachable: no answer, or not in the documented shape.
        """
        body = await self.status_body()
        engine = body.get("engine")
        label = engine.get("label") or engine.get("name") if isinstance(engine, dict) else engine
        return AgentStatus(
            engine=named(str(label or "")),
            model=named(str(body.get("model") or "")),
            quantisation=named(str(body.get("quantisation") or "")),
            version=named(str(body.get("version") or "")),
            is_loaded=body.get("loaded", True) is True,
        )

    async def probe(self, within_s: float) -> int:
        """Let the engine generate one token, metered under a reserved label; answers how many it generated.

        Raises:
            AgentUnreachable: no answer, no lease, or no token.
        """
        body = self._json(await self._send("POST", "/control/probe", {}, within_s))
        tokens = body.get("completion_tokens")
        if not isinstance(tokens, int) or tokens < 1:
            raise AgentUnreachable(self.agent, "/control/probe: no token was generated")
        return tokens

    async def status_body(self) -> dict[str, Any]:
        """What the agent says of itself, as it says it.

        Raises:
            AgentUnreachable: no answer, or not in the documented shape.
        """
        return await self._call("GET", "/control/status")

    async def close(self) -> None:
        """Give the connection back."""
        await self._client.aclose()

    async def _call(self, method: str, path: str) -> dict[str, Any]:
        return self._json(await self._send(method, path, None))

    async def _send(
        self, method: str, path: str, body: dict[str, object] | None, within_s: float | None = None
    ) -> httpx.Response:
        timeout = httpx.USE_CLIENT_DEFAULT if within_s is None else httpx.Timeout(within_s)
        try:
            return await self._client.request(method, path, json=body, timeout=timeout)
        except httpx.TimeoutException:
            raise AgentUnreachable(self.agent, f"{method} {path}: no answer in time") from None
        except httpx.LocalProtocolError as error:  # its text quotes the header that it refuses: our secret
            raise AgentUnreachable(self.agent, f"{method} {path}: {type(error).__name__}") from None
        except httpx.HTTPError as error:
            raise AgentUnreachable(self.agent, f"{method} {path}: {str(error) or type(error).__name__}") from None
        except HostUnreachable as error:
            raise AgentUnreachable(self.agent, error.problem, error.remedy) from None
        except SettingsError as error:
            raise AgentUnreachable(self.agent, f"{error.where}: {error.problem}", error.remedy) from None

    def _json(self, answer: httpx.Response) -> dict[str, Any]:
        if answer.is_error:
            raise AgentUnreachable(self.agent, f"{answer.url.path}: HTTP {answer.status_code}")
        try:
            body = answer.json()
        except (ValueError, RecursionError):
            raise AgentUnreachable(self.agent, f"{answer.url.path}: the answer is not JSON") from None
        if not isinstance(body, dict):
            raise AgentUnreachable(self.agent, f"{answer.url.path}: the answer is not a JSON object")
        return body

    async def __aenter__(self) -> "AgentClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
