"""What one source meets, whatever it is, is one line of its own answer."""

import time

import httpx

from console.collector.sources import ask_agent, ask_provider, ask_status
from console.hosts.agent_client import AgentClient
from console.providers.hyperstack import Hyperstack
from store.clock import SystemClock


def broken(_: httpx.Request) -> httpx.Response:
    msg = "nobody foresaw this"
    raise RuntimeError(msg)


async def test_an_agent_that_fails_as_nobody_foresaw_ends_no_tick() -> None:
    client = AgentClient("h100-a", "http://agent", "secret", transport=httpx.MockTransport(broken))
    assert await ask_agent(client, 5) == await ask_status(client, 5) == "it failed (RuntimeError); the log has more"
    await client.close()


async def test_a_provider_that_fails_as_nobody_foresaw_ends_no_tick() -> None:
    http = httpx.AsyncClient(transport=httpx.MockTransport(broken), base_url="http://cloud")
    provider = Hyperstack("cloud", "key", clock=SystemClock(), client=http)
    answer = await ask_provider(provider, (), 5, time.monotonic)
    assert answer.bills.problems == ("cloud: bills: it failed (RuntimeError); the log has more",)
    assert not answer.inventory.complete
    await provider.close()
