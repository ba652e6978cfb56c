"""From a name to a host: the store is asked where it is, and nobody's screen stands still meanwhile."""

import asyncio
import sqlite3
from pathlib import Path

from console.host_access import reached
from tests.console.fleet_world import fleet_world


async def test_a_store_that_is_written_is_waited_for_away_from_the_loop(tmp_path: Path) -> None:
    world = fleet_world(tmp_path)
    world.tick()
    with world.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE resources SET address = '192.0.2.1' WHERE resource_id = '8429'")
    (agent,) = world.settings.tiers[0].agents
    by_ssh = agent.model_copy(update={"ssh_user": "ubuntu", "control_url": None})
    tier = world.settings.tiers[0].model_copy(update={"agents": (by_ssh,)})
    settings = world.settings.model_copy(update={"tiers": (tier,)})

    async def address() -> str | None:
        async with reached(settings, by_ssh) as host:
            return host.address

    writer = sqlite3.connect(tmp_path / "mtok.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    asked = asyncio.create_task(address())
    await asyncio.sleep(0)  # it is under way, and this goes on
    assert not asked.done()
    writer.execute("ROLLBACK")
    writer.close()
    assert await asked == "192.0.2.1"
