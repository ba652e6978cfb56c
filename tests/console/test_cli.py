"""The command line: data on stdout, one clear line on stderr, an exit code, and no traceback."""

import csv
import gc
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from sqlmodel import SQLModel, func, select

from agent.cli import app as agent_app
from console.cli import app
from console.store_commands import counter_bodies
from store.commandline import run_command
from store.database import Database, open_database
from tests.commands import mtok
from tests.conftest import add_ended_buckets
from tests.console.fleet_world import FleetWorld, fleet_world
from tests.databases import statements


def told(folder: Path) -> FleetWorld:
    return fleet_world(folder, minutes=4)


@pytest.fixture
def world(tmp_path: Path) -> FleetWorld:
    return told(tmp_path)


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetWorld]:
    """A world for commands that cannot be done: at their end it is as it was."""
    made = told(tmp_path_factory.mktemp("refusing"))
    before = rows_of(made.database)
    yield made
    assert rows_of(made.database) == before


def rows_of(database: Database) -> dict[str, int]:
    """How many rows each table has."""
    with database.read() as session:
        tables = SQLModel.metadata.sorted_tables
        return {
            table.name: session.execute(select(func.count()).select_from(table)).scalar_one() for table in tables
        }


def config(world: FleetWorld) -> tuple[str, str]:
    return "--config", str(world.settings.path)


def test_status_is_json_or_text(world: FleetWorld) -> None:
    code, out, err = mtok("status", "--json", *config(world))
    assert (code, err) == (0, "")
    assert [tier["tier"] for tier in json.loads(out)["tiers"]] == ["h100", "l40", "a100"]
    assert "SIMULATED PROVIDER" in mtok("status", *config(world))[1]


def commands_of(app: typer.Typer, *words: str) -> Iterator[tuple[str, ...]]:
    yield words
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from commands_of(group.typer_instance, *words, group.name or "")


GROUPS = [*commands_of(app), *commands_of(agent_app, "agent")]


@pytest.mark.parametrize("words", GROUPS, ids=" ".join)
def test_a_group_named_alone_shows_its_commands(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = mtok(*words)
    assert (code, out) == (2, "")
    usage, *lines = err.splitlines()
    assert usage == " ".join(["Usage: mtok", *words, "[OPTIONS] COMMAND [ARGS]..."])
    assert "Commands:" in lines
    assert not any("..." in line or "\N{REPLACEMENT CHARACTER}" in line for line in lines)
    assert mtok(*words, "--help")[1].splitlines() == err.splitlines()


def test_a_package_that_is_not_installed_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    command = typer.Typer()

    @command.command()
    def needs(package: str) -> None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    assert run_command(command, ["sqlmodel"]) == 2
    assert capsys.readouterr().err.startswith("mtok: the package sqlmodel is not installed; pip install 'mtok[")
    with pytest.raises(ModuleNotFoundError):  # of ours: a fault, which no installation mends
        run_command(command, ["store.gone"])


def test_one_look_at_a_past_minute_is_of_that_minute(world: FleetWorld) -> None:
    past = ("console", "--at", "2026-11-24T08:01:30Z")
    code, out, err = mtok(*past, "--json", *config(world))
    assert (code, err) == (0, "")
    body = json.loads(out)
    assert body["as_of"] == "2026-11-24T08:01:30Z"
    assert body["billing"]["last_complete_tick"] == "2026-11-24T08:01:00Z"
    assert body["gate"]["state"] == "open"
    assert "as it was known at 2026-11-24T08:01:30Z\ngate OPEN" in mtok(*past, "--once", *config(world))[1]


@pytest.mark.parametrize(
    ("option", "runs"), [("--plain", "console.plain.run_plain"), ("--web", "console.web.serve")]
)
def test_a_console_that_stays_collects_garbage(
    world: FleetWorld, option: str, runs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def run(*_: object) -> int:
        seen.append(gc.isenabled())
        return 0

    monkeypatch.setattr(runs, run)
    assert mtok("console", "--no-collect", option, *config(world))[0] == 0
    assert seen == [True]


@pytest.mark.parametrize("words", [("counter", "list"), ("explain", "h200")])
def test_a_process_of_its_own_answers_alike(world: FleetWorld, words: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", "import sys; from console.cli import main; sys.exit(main())", *words]
    done = subprocess.run([*command, *config(world)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == mtok(*words, *config(world))
    assert done.stdout or done.stderr


def test_explain_names_the_samples_of_a_window(world: FleetWorld) -> None:
    window = ("--from", "2026-11-24T08:00:00Z", "--to", "2026-11-24T08:03:00Z")
    code, out, _ = mtok("explain", "l40", *window, "--json", *config(world))
    assert code == 0
    (term,) = json.loads(out)["spend"]["terms"]
    assert term["end"]["nusd"] - term["start"]["nusd"] == 40_000_000 == term["nusd"]
    assert "usage:vm:8433" in mtok("explain", "l40", *window, *config(world))[1]


def test_an_unknown_figure_has_an_exit_code_of_its_own(world: FleetWorld) -> None:
    code, out, _ = mtok("explain", "l40", "--window", "5m", "--json", *config(world))
    assert code == 5
    assert "no complete tick since 2026-11-24T08:03:00Z" in json.loads(out)["spend"]["unknown"]


def test_csv_goes_to_stdout_or_a_file(world: FleetWorld, tmp_path: Path) -> None:
    code, out, _ = mtok("export", "csv", *config(world))
    assert code == 0
    assert out.splitlines()[0].startswith("as_of,tier,")
    path = tmp_path / "out.csv"
    assert mtok("export", "csv", "-o", str(path), *config(world))[0] == 0
    assert path.read_bytes().count(b"\r\n") == 1 + 3 * 25  # a window of 24 hours touches 25


def test_rows_in_json_have_types(world: FleetWorld) -> None:
    window = ("--from", "2026-11-24T07:58:00Z", "--to", "2026-11-24T08:03:00Z", "--every", "1m")
    code, out, _ = mtok("export", "json", *window, *config(world))
    assert code == 0
    before, *_, last = [row for row in json.loads(out) if row["tier"] == "l40"]
    assert (last["simulated"], last["since"], last["unknown"], last["engine"]) == (True, False, None, None)
    assert {type(last[name]) for name in ("prompt_tokens", "cached_tokens", "completion_tokens", "requests")} == {
        int
    }
    assert last["spend"] == "0.013333333"
    assert last["load"] == {"unknown": "the capacity of agent l40-a was not known; mtok agent bench measures it"}
    assert before["spend"] == {"unknown": before["unknown"]}
    assert "unknown" in before["start"]
    _, rows, _ = mtok("export", "csv", *window, *config(world))
    cells = [row for row in csv.DictReader(io.StringIO(rows)) if row["tier"] == "l40"]
    assert (cells[-1]["simulated"], cells[-1]["spend"], cells[-1]["load"]) == ("true", last["spend"], "")
    assert int(cells[-1]["completion_tokens"]) == last["completion_tokens"]


@pytest.mark.skipif(shutil.which("jq") is None, reason="not run: there is no jq")
def test_the_sum_that_the_readme_shows_is_the_figure(world: FleetWorld) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"mtok explain h100 --json \| jq '(.*)'", readme)
    window = ("--from", "2026-11-24T08:00:00Z", "--to", "2026-11-24T08:03:00Z")
    _, out, _ = mtok("explain", "h100", *window, "--json", *config(world))
    done = subprocess.run(["jq", program], input=out, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["100000000", "100000000"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("status", "--config", "none.toml"), 2, "cannot read"),
        (("explain", "h200"), 2, "choose one of: h100, l40, a100"),
        (("explain", "h100", "--window", "6m"), 2, "choose one of: 5m"),
        (("explain", "h100", "--from", "yesterday"), 2, "is no instant"),
        (("explain", "h100", "--from", "0001-01-01T00:00:00+05:00"), 2, "is out of reach"),
        (("export", "csv", "--from", "9999-12-31T20:00:00Z", "--to", "9999-12-31T23:00:00Z"), 2, "is out of reach"),
        (("explain", "h100", "--from", "2026-11-24T09:00:00Z", "--to", "2026-11-24T08:00:00Z"), 2, "swap them"),
        (("explain", "h100", "--window", "1h", "--from", "2026-11-24T08:00:00Z"), 2, "there is --from or --to too"),
        (("export", "csv", "--window", "24h", "--to", "2026-11-24T08:00:00Z"), 2, "there is --from or --to too"),
        (("reconcile", "--day", "2026-11-24", "--from", "2026-11-24T08:00:00Z"), 2, "there is --from or --to too"),
        (("console", "--at", "2999-01-01T00:00Z", "--once"), 2, "is yet to come"),
        (("console", "--at", "2026-11-24T08:01Z", "--plain"), 2, "--plain tells what is, not what was; use --once"),
        (("console", "--at", "2026-11-24T08:01Z"), 1, "or `--once`, with --at too"),
        (("console", "--at", "2026-11-24T07:59Z", "--json"), 1, "recorded"),
        (("export", "csv", "-o", "no/such/place.csv"), 1, "choose another place"),
        (("export", "csv", "-o", "."), 1, "is no name of a file; choose another place"),
        (("export", "prometheus", "-o", ""), 1, "is no name of a file; choose another place"),
        (("collect",), 2, "CLOUD_KEY is not set"),
        (("demo", "--for", "soon"), 2, "such as '170s'"),
        (("demo", "--json"), 2, "--headless"),
        (("nonsense",), 2, "No such command"),
        (("status", "--nonsense"), 2, "No such option"),
        (("agent", "nonsense"), 2, "No such command"),
        (("agent", "serve", "--config", "none.toml"), 2, "cannot read none.toml"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    refusing: FleetWorld, tmp_path: Path, words: tuple[str, ...], code: int, says: str
) -> None:
    more = () if "--config" in words or words[0] in ("demo", "nonsense", "agent") else config(refusing)
    got, out, err = mtok(*words, *more, cwd=tmp_path)
    assert (got, out) == (code, "")
    assert says in err


def test_a_store_from_a_newer_version_is_exit_code_4(world: FleetWorld) -> None:
    with world.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    code, _, err = mtok("status", *config(world))
    assert code == 4
    assert "upgrade mtok" in err


def test_a_store_that_is_no_database_is_exit_code_4(world: FleetWorld, tmp_path: Path) -> None:
    world.database.close()
    for path in tmp_path.glob("mtok.db*"):
        path.unlink()
    (tmp_path / "mtok.db").write_bytes(b"not a database, but long enough to look like a file of one " * 99)
    code, _, err = mtok("status", *config(world))
    assert code == 4
    assert "not a database" in err


def test_an_earlier_demos_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text("{}", encoding="utf-8")
    code, _, err = mtok("demo", "--headless", "--state", str(tmp_path))
    assert code == 2
    assert "holds an earlier demo" in err


def test_help_and_version_are_there(tmp_path: Path) -> None:
    code, out, _ = mtok("--help")
    assert code == 0
    for command in ("demo", "console", "collect", "status", "explain", "export", "agent"):
        assert command in out
    assert mtok("agent", "--help")[0] == 0
    assert mtok("--version")[1].strip().count(".") == 2
    open_database(f"sqlite:///{tmp_path / 'x.db'}").close()


def test_counters_are_listed_with_their_steps(world: FleetWorld) -> None:
    code, out, _ = mtok("counter", "list", *config(world))
    assert code == 0
    assert "usage:vm:8429" in out
    body = json.loads(mtok("counter", "list", "--json", *config(world))[1])
    assert {one["state"] for one in body["counters"]} == {"live"}
    assert [one["tier"] for one in body["counters"]] == ["a100", "h100", "l40"]


def test_counters_are_listed_in_one_statement_however_many_have_ended(world: FleetWorld) -> None:
    add_ended_buckets(world.database, 30)
    with statements(world.database) as sent:
        bodies = counter_bodies(world.database)
    assert [body["total"] for body in bodies][1:3] == ["10.133333333", "0.000000005"]
    assert (len(bodies), sum("bill_samples" in one for one in sent)) == (33, 1)


def test_the_store_is_checked_thinned_and_copied(world: FleetWorld, tmp_path: Path) -> None:
    assert mtok("store", "check", *config(world))[0] == 0
    assert json.loads(mtok("store", "check", "--json", *config(world))[1])["findings"] == []
    assert "MiB on disk" in mtok("store", "thin", *config(world))[1]
    assert mtok("store", "migrate", *config(world))[0] == 0
    target = f"sqlite:///{tmp_path / 'copy.db'}"
    code, out, _ = mtok("store", "copy", world.settings.store_url, target)
    assert (code, "bill_samples" in out) == (0, True)
    code, _, err = mtok("store", "copy", world.settings.store_url, target)
    assert (code, "name an empty store" in err) == (4, True)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("counter", "settle", "99", "--reason", "why"), 1, "no such counter"),
        (("counter", "settle", str(2**63 - 1), "--reason", "why"), 1, "no such counter"),
        (("counter", "settle", str(2**63), "--reason", "why"), 2, "should be less than"),
        (("counter", "settle", "1", "--reason", "why"), 1, "is not unsettled"),
        (("counter", "settle", "1", "--reason", "why", "--total", "12,5"), 2, "write an amount"),
        (("reconcile",), 2, "CLOUD_KEY is not set"),
        (("reconcile", "--day", "yesterday"), 2, "write one such as 2026-11-23"),
        (("reconcile", "--day", "0001-01-01"), 2, "write one such as 2026-11-23"),
        (("reconcile", "--day", "9999-12-31"), 2, "write one such as 2026-11-23"),
        (("reconcile", "--day", "2999-01-01"), 2, "is not over yet"),
        (("reconcile", "--invoice", "none.csv"), 2, "cannot be read"),
        (("export", "focus", "--focus", "1.3"), 2, "choose one of: 1.2, 1.4"),
        (("export", "json", "--every", "7m"), 2, "choose one of: 1m"),
    ],
)
def test_what_auditors_get_wrong_is_one_line(
    refusing: FleetWorld, words: tuple[str, ...], code: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLOUD_KEY", raising=False)
    got, _, err = mtok(*words, *config(refusing))
    assert (got, says in err) == (code, True), err
    assert "Traceback" not in err


def test_the_gate_is_shown_with_every_input_and_closed_and_opened_by_hand(world: FleetWorld) -> None:
    code, out, err = mtok("gate", "show", "--json", *config(world))
    assert (code, err) == (0, "")
    body = json.loads(out)
    assert body["state"] == "closed"  # its history ended long before this command's clock
    assert {"policy", "inputs", "fleet", "headroom", "overspend_bound"} <= set(body)
    assert [term["counter"] for term in body["headroom"]] == ["usage:vm:8429", "usage:vm:8433", "usage:vm:8437"]
    assert "beyond the limit, at most" in mtok("gate", "show", *config(world))[1]
    assert mtok("gate", "close", "--reason", "a leak", *config(world))[0] == 0
    code, _, err = mtok("gate", "close", "--reason", "again", *config(world))
    assert code == 1
    assert "has closed it already (a leak)" in err
    assert "manual" in json.loads(mtok("gate", "show", "--json", *config(world))[1])["reasons"]
    assert "still closed: last complete billing tick" in mtok("gate", "open", "--reason", "ok", *config(world))[1]
    code, _, err = mtok("gate", "open", "--reason", "ok", *config(world))
    assert code == 1
    assert "nobody has closed it by hand" in err


def test_a_blind_gate_is_not_reset_from_the_command_line(world: FleetWorld) -> None:
    words = ("gate", "reset", "--amount", "50", "--reason", "launch", *config(world))
    code, _, err = mtok(*words)
    assert code == 1
    assert "the gate is dark" in err
    assert "after two complete ticks" in err
    code, _, err = mtok("gate", "reset", "--amount", "lots", "--reason", "x", *config(world))
    assert code == 2
    code, _, err = mtok("gate", "reset", "--amount", "5", "--reason", "x", "--tier", "h100", *config(world))
    assert code == 1
    assert "no daily_usd of its own" in err
    code, _, err = mtok("gate", "reset", "--amount", "5", "--reason", "x", "--currency", "CHF", *config(world))
    assert code == 1
    assert "[budget.daily] has no limit in CHF" in err
