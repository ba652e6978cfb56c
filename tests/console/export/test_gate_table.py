"""The gate as a table."""

from pathlib import Path

from console.export.gate_table import COLUMNS, gate_rows
from store.unknown import Unknown
from tests.console.fleet_world import fleet_world


def test_unknown_has_a_column_of_its_own_and_is_never_an_amount(tmp_path: Path) -> None:
    world = fleet_world(tmp_path)
    world.tick()
    service = world.service
    verdict, _ = service.verdict()
    rows = gate_rows(
        verdict, {"USD": Unknown("not recorded")}, service.budget_curve(24), service.verdict_changes(5)
    )
    found = {row[2]: dict(zip(COLUMNS, row, strict=True)) for row in rows}
    bound = found["overspend_bound_usd"]
    assert (bound["value"], bound["unknown"]) == ("", "not recorded")
    assert bound["note"] == "assumes a live leader"
    assert found["limit_usd"]["value"] == "200.000000000"
    assert {row[1] for row in rows} == {"account", "h100", "l40", "a100"}


def test_nothing_of_today_is_known_before_a_complete_tick(tmp_path: Path) -> None:
    service = fleet_world(tmp_path).service
    verdict, _ = service.verdict()
    rows = gate_rows(verdict, {}, service.budget_curve(24), ())
    found = {row[2]: dict(zip(COLUMNS, row, strict=True)) for row in rows if row[1] == "account"}
    for name in ("debits_usd", "headroom_usd", "bound_usd"):
        assert (found[name]["value"], found[name]["unknown"]) == ("", "no complete billing tick yet")
