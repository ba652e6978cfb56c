"""`mtok store backup` and `restore`, as an engineer runs them."""

from pathlib import Path

import pytest

from console.cli import main
from store.leader import release
from tests.console.fleet_world import FleetWorld, fleet_world

Out = pytest.CaptureFixture[str]


@pytest.fixture
def world(tmp_path: Path) -> FleetWorld:
    return fleet_world(tmp_path, minutes=3)


def test_a_backup_is_made_beside_a_leader_and_put_back_without_one(
    world: FleetWorld, tmp_path: Path, capsys: Out
) -> None:
    config = ("--config", str(world.settings.path))
    file = str(tmp_path / "b.db.gz")
    assert main(["store", "backup", file, *config]) == 0
    assert capsys.readouterr().out.startswith(f"wrote {file}: ")
    assert main(["store", "backup", file, *config]) == 4
    assert "name a new file" in capsys.readouterr().err
    world.tick()
    assert main(["store", "restore", file, "--force", *config]) == 4
    assert "vm:1:test leads until" in capsys.readouterr().err
    release(world.database, "vm:1:test")
    assert main(["store", "restore", file, *config]) == 4
    assert "use --force" in capsys.readouterr().err
    world.database.close()
    assert main(["store", "restore", file, "--force", *config]) == 0
    out, err = capsys.readouterr()
    assert "the last tick is of 2026-11-24T08:02:00Z" in out
    assert "mtok.db.before-" in err
    assert main(["store", "check", *config]) == 0


def test_what_does_not_hold_is_said_with_exit_code_1(world: FleetWorld, tmp_path: Path, capsys: Out) -> None:
    with world.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE bill_samples SET total_nusd = 7 WHERE counter_id = 1")
    assert main(["store", "backup", str(tmp_path / "b.db"), "--config", str(world.settings.path)]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("wrote ")
    assert "does not hold in the store, and so in the backup: usage:vm:8429" in err
