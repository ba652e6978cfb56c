"""What adds money to a limit: it is what was seen, it can be stored, and nobody else adds meanwhile."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import select

from console.service import GateRefused
from console.wording import reset_consequence
from store.database import Database
from store.gate import FLEET
from store.money import NUSD, display_usd, typed_nusd
from store.resets import DayLimit, day_limit
from store.tables import Allowance
from store.verdicts import hold_allowances
from tests.commands import mtok
from tests.console.fleet_world import FleetWorld, fleet_world


def spent_world(folder: Path, more: str = "", in_euro: frozenset[str] = frozenset()) -> FleetWorld:
    """Its dollars are reserved after seven minutes, or spent where `more` is."""
    world = fleet_world(folder, "0.60" if not more else "200", more, minutes=7, in_euro=in_euro)
    world.clock.advance(-58)
    return world


def seen_now(world: FleetWorld) -> DayLimit:
    fleet = world.service.fleet()
    return day_limit(fleet.verdict, FLEET, fleet.at, world.settings.gate_policy.zone)


def allowances(world: FleetWorld) -> list[tuple[str, int]]:
    with world.database.read() as session:
        return [(row.scope, row.amount_nusd) for row in session.exec(select(Allowance)).all()]


def test_a_limit_that_somebody_else_has_added_to_is_not_added_to_again(tmp_path: Path) -> None:
    world = spent_world(tmp_path)
    seen = seen_now(world)
    world.service.reset_gate(50 * NUSD, "launch", seen=seen)
    with pytest.raises(GateRefused, match=r"limit is \$50\.60 now, no longer \$0\.60; nothing was changed"):
        world.service.reset_gate(50 * NUSD, "launch", seen=seen)
    assert allowances(world) == [("", 50 * NUSD)]


def test_what_was_meant_for_a_day_is_not_added_to_the_next(tmp_path: Path) -> None:
    world = spent_world(tmp_path)
    seen = seen_now(world)
    world.clock.advance(timedelta(days=1).total_seconds())
    with pytest.raises(GateRefused, match="2026-11-24 is over"):
        world.service.reset_gate(50 * NUSD, "launch", seen=seen)
    assert allowances(world) == []


@pytest.mark.parametrize("before", [(), (9_000_000_000 * NUSD,)])
def test_no_reset_leaves_a_limit_that_nobody_can_read(tmp_path: Path, before: tuple[int, ...]) -> None:
    world = spent_world(tmp_path)
    for amount in before:
        world.service.reset_gate(amount, "launch")
    with pytest.raises(GateRefused, match=r"at most \$[0-9,.]+ can be added: the store holds no larger limit"):
        world.service.reset_gate(typed_nusd("9223372036.8"), "launch")
    world.clock.advance(58)
    world.tick()
    assert world.service.fleet().verdict.limit_nusd == sum(before) + 600_000_000


def test_dollars_are_not_added_where_euros_are_spent(tmp_path: Path) -> None:
    world = spent_world(tmp_path, 'daily = { EUR = "0.05" }', frozenset({"h100"}))
    with pytest.raises(GateRefused, match="that of EUR is: mtok gate reset --currency EUR"):
        world.service.reset_gate(NUSD, "launch")
    world.service.reset_gate(50 * NUSD, "launch", currency="EUR")
    assert allowances(world) == [("EUR", 50 * NUSD)]
    assert world.service.fleet().verdict.is_open


@pytest.mark.parametrize("amount", ["1e3", "1_000", "0.0000000015", "\uff15\uff10"])
def test_the_command_takes_plain_amounts_alone(world: FleetWorld, amount: str) -> None:
    code, _, err = mtok("gate", "reset", "--amount", amount, "--reason", "x", "--config", str(world.settings.path))
    assert code == 2
    assert f"--amount {amount}: " in err
    assert "write one such as 50 or 12.50" in err


def test_two_who_add_at_once_come_in_turn(database: Database) -> None:
    entered = threading.Event()

    def add() -> None:
        with database.write() as session:
            hold_allowances(session)
            entered.set()

    other = threading.Thread(target=add)
    with database.write() as session:
        hold_allowances(session)
        other.start()
        assert not entered.wait(0.3)
    other.join(10)
    assert entered.is_set()


def test_the_dialog_names_the_limit_from_which_on_the_gate_opens(tmp_path: Path) -> None:
    world = spent_world(tmp_path)
    verdict = world.service.fleet().verdict
    bound = verdict.fleet.facts.bound_nusd
    assert isinstance(bound, int)
    assert verdict.limit_nusd < bound
    opens = f"With what is not billed yet, a limit above {display_usd(bound)} opens it."
    alone = "The amount is added to today's limit alone. It is journaled with your name."
    assert reset_consequence(world.service.fleet(), FLEET) == f"{opens}\n{alone}"
    world.service.close_gate("leak")
    told = reset_consequence(world.service.fleet(), FLEET).splitlines()
    assert told[1:] == ["It stays closed all the same: manual.", alone]
