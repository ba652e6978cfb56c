"""What one source meets, whatever it is, is one line of its own answer."""

import time

import httpx
import pytest

from console.collector.sources import ask_agent, ask_provider, ask_status, tier_resources
from console.hosts.agent_client import AgentClient
from console.providers.hyperstack import Hyperstack
from console.providers.protocol import Batch, Ref, Resource
from console.settings import TierSection
from store.clock import SystemClock
from store.words import Market, ResourceKind, State


def broken(_: httpx.Request) -> httpx.Response:
    msg = "nobody foresaw this"
    raise RuntimeError(msg)


@pytest.mark.parametrize(
    ("listed", "problems", "running"),
    [
        ("ab", (), 1),
        ("a", (), 1),
        ("", (), 0),
        ("", ("HTTP 500",), None),
        ("a", ("half a page",), None),
        ("ab", ("x",), 1),
    ],
)
def test_how_many_run_is_known_where_the_inventory_tells_of_each(
    listed: str, problems: tuple[str, ...], running: int | None
) -> None:
    states = {"a": State.RUNNING, "b": State.ASLEEP}
    items = tuple(Resource(Ref(ResourceKind.INSTANCE, id_), id_, states[id_], "") for id_ in listed)
    tier = TierSection.model_construct(
        name="h100", market=Market.SPOT, provider="cloud", instances=("a", "b"), volumes=()
    )
    assert tier_resources(tier, Batch(items, problems)).running == running


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
