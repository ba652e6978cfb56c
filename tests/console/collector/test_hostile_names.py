"""Names that break terminals and databases: they are kept harmless, and no tick is lost to them."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlmodel import select

from console.collector.tick import Collector
from console.providers.simulator import Simulator, running_simulator
from console.providers.simulator_world import SimulatedWorld
from store.clock import SystemClock
from store.tables import BillCounter, ResourceRow
from tests.console.collector.conftest import WORLD

NAMES = ("\0", "\ud800", "\x1b]0;x\x07", "\u202egnp", "a\nb", "=cmd()", "[/]", "x" * 5000)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    instances: list[dict[str, Any]] = [
        {"id": 8429 + n, "name": name, "price_usd_per_hour": "2.00"} for n, name in enumerate(NAMES)
    ]
    with running_simulator(SimulatedWorld.from_json({**WORLD, "instances": instances}, SystemClock())) as running:
        yield running


async def test_no_name_ends_a_tick_and_each_is_kept_printable(collector: Collector, fence: int) -> None:
    assert await collector.tick(fence)
    with collector.database.read() as session:
        kept = [row.name for row in session.exec(select(ResourceRow)).all()]
        billed = [row.name for row in session.exec(select(BillCounter)).all()]
    assert len(kept) >= len(NAMES)
    assert len(billed) >= len(NAMES)
    assert all(name.isprintable() and len(name) <= 240 for name in (*kept, *billed))
