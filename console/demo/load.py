"""A small load of real requests, in a process of its own: `python -m console.demo.load DIR`.

Every client adds up the `usage` that it received. SIGTERM ends the load: requests in flight finish first,
then `load.json` has the final sums.
"""

import asyncio
import json
import random
import signal
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from console.demo.files import write_json

_TOPICS = ("volumes", "spot markets", "hibernation", "budgets", "tokens", "ledgers", "invoices", "leases")


@dataclass(slots=True)
class Received:
    """What the clients of one tier were told.

    `unreachable`: nobody listened, as while the host sleeps. `broken`: answers that ended without usage.
    """

    answers: int = 0
    refused: int = 0
    unreachable: int = 0
    broken: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(slots=True)
class Load:
    """Clients of every tier, until `stop` is set."""

    state: Path
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    received: dict[str, Received] = field(default_factory=dict)

    async def run(self, agents: list[dict[str, Any]]) -> None:
        """Two clients a tier, each tier a little busier than the one before."""
        clients = []
        for rank, agent in enumerate(agents):
            self.received[agent["tier"]] = Received()
            clients += [self._client(agent, pause_s=1.6 - 0.4 * rank, seed=10 * rank + n) for n in range(2)]
        reporter = asyncio.create_task(self._report())
        await asyncio.gather(*clients)
        reporter.cancel()
        self._write(ended=True)

    async def _client(self, agent: dict[str, Any], pause_s: float, seed: int) -> None:
        dice = random.Random(seed)  # noqa: S311 - the same load in every demo
        headers = {"Authorization": f"Bearer {agent['api_key']}"}
        async with httpx.AsyncClient(base_url=agent["url"], headers=headers, timeout=60) as http:
            model = await self._model(http)
            while not self.stop.is_set():
                await self._ask(http, model, self.received[agent["tier"]], dice)
                await self._pause(dice.uniform(0.5, 1.5) * pause_s)

    async def _model(self, http: httpx.AsyncClient) -> str:
        while not self.stop.is_set():
            try:
                answer = await http.get("/v1/models")
            except httpx.HTTPError:
                await self._pause(0.2)
                continue
            if answer.is_success:
                return str(answer.json()["data"][0]["id"])
            await self._pause(0.2)
        return ""

    async def _ask(self, http: httpx.AsyncClient, model: str, received: Received, dice: random.Random) -> None:
        stream = dice.random() < 0.5
        question = f"Tell me about {dice.choice(_TOPICS)} and {dice.choice(_TOPICS)}."
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": "user", "content": question}],
            "max_tokens": dice.randrange(24, 96),
            "seed": dice.randrange(2**31),
        }
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        try:
            status, usage = await _usage_of(http, body)
        except httpx.ConnectError:
            received.unreachable += 1
            return await self._pause(1.0)
        except httpx.HTTPError:
            received.broken += 1
            return await self._pause(1.0)
        if status != httpx.codes.OK:
            received.refused += 1
            return await self._pause(1.0)
        if usage is None:
            received.broken += 1
            return None
        received.answers += 1
        received.prompt_tokens += usage["prompt_tokens"]
        received.completion_tokens += usage["completion_tokens"]
        return None

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.stop.wait()
        except TimeoutError:
            return

    async def _report(self) -> None:
        while True:
            self._write(ended=False)
            await asyncio.sleep(1)

    def _write(self, *, ended: bool) -> None:
        tiers = {tier: asdict(received) for tier, received in self.received.items()}
        write_json(self.state / "load.json", {"ended": ended, "tiers": tiers})


async def _usage_of(http: httpx.AsyncClient, body: dict[str, Any]) -> tuple[int, dict[str, int] | None]:
    """The status of an answer, and the usage in it, streamed or not."""
    async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        if not body.get("stream") or answer.is_error:
            whole = json.loads(await answer.aread())
            return answer.status_code, whole.get("usage")
        usage = None
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                usage = json.loads(line.removeprefix("data: ")).get("usage") or usage
        return answer.status_code, usage


async def _main(state: Path) -> None:
    load = Load(state)
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, load.stop.set)
    demo = json.loads((state / "demo.json").read_text(encoding="utf-8"))
    await load.run(demo["agents"])


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
