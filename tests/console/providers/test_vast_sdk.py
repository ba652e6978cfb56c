"""The official SDK (PyPI `vastai` 1.9.1) drives our simulator, and reads what our adapter reads.

`MTOK_VAST_SDK` names the interpreter of an environment that has it.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from console.providers.protocol import Action
from console.providers.vast import Vast
from console.providers.vast_simulator import VastSimulator, running_vast_simulator
from console.providers.vast_simulator_world import VastWorld
from store.clock import SetClock
from store.money import parse_nusd
from store.words import State
from tests.console.providers.vast_account import BID, NOW, WORLD

SDK = """
import json, sys
from vastai.api import billing, instances, storage
from vastai.api.client import VastClient
client = VastClient(sys.argv[1], server_url=sys.argv[2])
window = {"charges": True, "start_date": 1514764800, "end_date": 4102444800, "limit": 3}
asked = {
    "charges": lambda: billing.show_invoices_v1(client, {**window, "next_token": sys.argv[4]}),
    "instances": lambda: instances.show_instances(client),
    "instance": lambda: instances.show_instance(client, 8429),
    "volumes": lambda: storage.show_volumes(client),
    "stop": lambda: instances.stop_instance(client, 8429),
    "start": lambda: instances.start_instance(client, 8429),
}
print(json.dumps(asked[sys.argv[3]]()))
"""


@pytest.fixture
def clock() -> SetClock:
    return SetClock(NOW)


@pytest.fixture
def simulator(clock: SetClock) -> Iterator[VastSimulator]:
    with running_vast_simulator(VastWorld.from_json(WORLD, clock)) as running:
        yield running


def sdk(simulator: VastSimulator, what: str, token: str = "") -> Any:
    """What the official SDK makes of an answer; floats as Decimals of their digits."""
    command = [os.environ["MTOK_VAST_SDK"], "-c", SDK, simulator.api_key, simulator.base_url, what, token]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout, parse_float=Decimal)


async def test_the_sdk_reads_the_charges_that_the_adapter_reads(simulator: VastSimulator, clock: SetClock) -> None:
    clock.advance(12_345)
    rows: list[Any] = []
    token: str | None = ""
    while token is not None:
        page = sdk(simulator, "charges", token)
        rows += page["results"]
        token = page["next_token"]
    cloud = Vast("cloud", simulator.api_key, simulator.base_url, clock=clock)
    batch = await cloud.bills(())
    await cloud.close()
    theirs = {f"vast:charges:{row['source']}:gte=1514764800": parse_nusd(str(row["amount"])) for row in rows}
    assert {reading.counter: reading.total_nusd for reading in batch.items} == theirs
    assert len(theirs) == 4


async def test_the_sdk_lists_what_the_adapter_lists(simulator: VastSimulator, clock: SetClock) -> None:
    for id_ in range(9000, 9030):
        simulator.world.create_instance({"id": id_, "name": f"i{id_}", "price_usd_per_hour": "0.5"})
    simulator.faults.set("outbid")
    cloud = Vast("cloud", simulator.api_key, simulator.base_url, clock=clock)
    found = {one.ref: one for one in (await cloud.inventory()).items}
    await cloud.close()
    listed = sdk(simulator, "instances") + sdk(simulator, "volumes")
    assert sorted((str(row["id"]), row["label"]) for row in listed) == sorted(
        (ref.id, one.name) for ref, one in found.items()
    )
    row = sdk(simulator, "instance")
    assert (row["is_bid"], row["intended_status"], row["actual_status"]) == (True, "running", "stopped")
    assert found[BID].raw_state == "stopped (intended running)"


async def test_what_the_sdk_does_the_adapter_sees_and_the_other_way_round(
    simulator: VastSimulator, clock: SetClock
) -> None:
    cloud = Vast("cloud", simulator.api_key, simulator.base_url, clock=clock)
    sdk(simulator, "stop")
    asleep = next(one for one in (await cloud.inventory()).items if one.ref == BID)
    assert asleep.state is State.ASLEEP
    await cloud.act(BID, Action.WAKE, seen=asleep.raw_state)
    assert sdk(simulator, "instance")["actual_status"] == "running"
    await cloud.act(BID, Action.SLEEP, seen="running")
    sdk(simulator, "start")
    assert sdk(simulator, "instance")["actual_status"] == "running"
    await cloud.close()
    puts = [request for request in simulator.requests if request.startswith("PUT")]
    assert len(puts) == 4
    assert len(set(puts)) == 1  # one path for all, whoever sends it
