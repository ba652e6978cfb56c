"""A tier's resources and their bills, now and at a past minute."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import select

from store.resources import ResourceView, resources
from store.tables import BillCounter, BillSample, ResourceRow
from store.unknown import NOT_RECORDED, Unknown
from tests.console.fleet_world import START, FleetWorld, fleet_world

MINUTE = timedelta(minutes=1)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[FleetWorld]:
    """Three tiers, eight minutes."""
    world = fleet_world(tmp_path, minutes=8)
    yield world
    world.database.close()


def only(world: FleetWorld, minute: int | None = None) -> ResourceView:
    at = None if minute is None else START + MINUTE * minute
    (found,) = world.service.resources("h100", at)
    return found


def test_a_resource_is_shown_with_its_bill(world: FleetWorld) -> None:
    found = only(world)
    assert (found.kind, found.resource_id, found.name, found.state) == ("instance", "8429", "h100-a", "running")
    assert (found.raw_state, found.address, found.rate_nusd_per_hour) == ("ACTIVE", None, 2_000_000_000)
    (bill,) = found.bills
    assert bill.total_nusd == 10**10 + 2 * 10**9 * 8 // 60
    assert bill.raw == "10.266666666"
    assert bill.opening_nusd == 10**10 + 2 * 10**9 // 60
    assert bill.spent_nusd == bill.total_nusd - bill.opening_nusd
    assert (bill.read_at, bill.moved_at) == (START + 7 * MINUTE, START + 7 * MINUTE)
    assert bill.step == MINUTE


def test_a_past_minute_has_the_bill_of_then_and_no_state_that_is_not_recorded(world: FleetWorld) -> None:
    world.asleep = frozenset({"h100"})
    world.tick()
    found, bill = only(world, 5), only(world, 5).bills[0]
    assert (found.state, found.raw_state, found.address) == (NOT_RECORDED, NOT_RECORDED, NOT_RECORDED)
    assert (bill.total_nusd, bill.moved_at, bill.step) == (10**10 + 2 * 10**8, START + 5 * MINUTE, MINUTE)
    assert only(world, 8).state == "asleep"
    assert isinstance(only(world, 1).bills[0].step, Unknown)


def test_a_resource_of_later_is_not_there_yet(world: FleetWorld) -> None:
    with world.database.write() as session:
        session.exec(select(ResourceRow).where(ResourceRow.tier == "l40")).one().tier = "h100"
    assert len(world.service.resources("h100")) == 2
    with world.database.write() as session:
        row = session.exec(select(ResourceRow).where(ResourceRow.resource_id == "8433")).one()
        row.state_since_at = START + 6 * MINUTE
    assert len(world.service.resources("h100", START + 5 * MINUTE)) == 1


def test_a_bill_without_a_resource_is_not_lost(world: FleetWorld) -> None:
    with world.database.write() as session:
        session.delete(session.exec(select(ResourceRow).where(ResourceRow.tier == "h100")).one())
        counter = session.exec(select(BillCounter).where(BillCounter.tier == "h100")).one()
        counter.unsettled_at = START + 7 * MINUTE
    found = only(world)
    assert found.state == Unknown("no inventory shows it")
    assert found.bills[0].unsettled_at == START + 7 * MINUTE
    assert isinstance(found.bills[0].spent_nusd, Unknown)
    assert isinstance(only(world, 6).bills[0].spent_nusd, int)


def test_of_bills_that_have_ended_the_newest_are_shown(world: FleetWorld) -> None:
    with world.database.write() as session:
        first = session.exec(select(BillCounter).where(BillCounter.tier == "h100")).one()
        for hour in range(30):
            values = first.model_dump(exclude={"id", "counter"})
            ended = BillCounter(**{**values, "counter": f"hour {hour}", "final_at": START})
            session.add(ended)
            session.flush()
            assert ended.id is not None
            sample = BillSample(counter_id=ended.id, at=START, total_nusd=1, debits_nusd=1, raw="0", as_of_at=START)
            session.add(sample)
    bills = only(world).bills
    assert len(bills) == 25
    assert bills[-1].counter == "hour 29"


def test_a_tier_of_which_nothing_is_known_is_empty(world: FleetWorld) -> None:
    with world.database.read() as session:
        assert resources(session, "none") == ()
