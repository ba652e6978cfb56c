"""Text of others, on every way out: nothing that a terminal, a table, a spreadsheet or a reader of lines obeys."""

import asyncio
import csv
import io
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.cli import main
from console.collector.alarms import _messages
from console.settings import load_settings
from console.tui.keys import PAGES
from store.alarms import tell
from store.clock import SetClock
from store.database import open_database
from store.journal import note
from store.logs import _harmless
from store.operations import request, seen_state
from store.phases import OperationKind
from store.printable import json_text, named, printable
from store.readings import AgentReading, Bill
from store.tables import AgentRow, AlarmRow, ResourceRow
from tests.console.fleet_world import TIERS, FleetWorld, settings_text
from tests.console.tui.screen import app_of, ready, shown, until

HOSTILE = "=x\nFORGED\x1b]0;title\x07\x1b[31m[/][red]\x9b2J\u202egnp\u2028\u200b\x7f\r\t&\\"
COMMANDS = (
    "status",
    "status --json",
    "explain h100",
    "explain h100 --json",
    "tier list",
    "tier list --json",
    "tier history h100 --kind hibernate",
    "tier history h100 --kind hibernate --json",
    "counter list",
    "counter list --json",
    "gate show",
    "gate show --json",
    "store check",
    "doctor",
    "export csv",
    "export json",
    "export focus",
)


@dataclass
class HostileWorld(FleetWorld):
    """Whatever others may say is hostile: what one store may hold that was written before names were cleaned."""

    def _bill(self, name: str, id_: str) -> Bill:
        return replace(super()._bill(name, id_), counter=f"{HOSTILE}{id_}", name=HOSTILE)

    def _agent(self, name: str) -> AgentReading:
        return super()._agent(name) if name == "h100" else AgentReading(name, None, HOSTILE)

    def _resource(self, name: str, id_: str) -> ResourceRow:
        row = super()._resource(name, id_)
        row.name = row.raw_state = row.address = row.sleep_bills = row.sleep_loses = HOSTILE
        return row

    def hostile_rows(self) -> None:
        """What has been said by agents, people and the provider."""
        with self.database.write() as session:
            for name, *_ in TIERS:
                agent = session.get_one(AgentRow, f"{name}-a")
                agent.engine = agent.model = agent.quantisation = agent.version = agent.capacity_about = HOSTILE
                agent.keys = json.dumps({HOSTILE: {"requests": 1, "prompt_tokens": 1, "completion_tokens": 1}})
                session.add(agent)
            note(session, self.clock.now(), HOSTILE, HOSTILE, HOSTILE, HOSTILE)
            tell(session, self.clock.now(), "clock_jump", HOSTILE, HOSTILE)
            request(
                session,
                self.clock.now(),
                OperationKind.HIBERNATE,
                "h100",
                actor=HOSTILE,
                reason=HOSTILE,
                seen=seen_state(session, "h100"),
            )


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HostileWorld:
    monkeypatch.setenv("CLOUD_KEY", "key")
    monkeypatch.setenv("S", "secret")
    path = tmp_path / "mtok.toml"
    path.write_text(settings_text(TIERS, "200"), encoding="utf-8")
    settings = load_settings(path)
    started = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=6)
    world = HostileWorld(open_database(settings.store_url), settings, SetClock(started))
    for _ in range(5):
        world.tick()
    world.tick(problem=HOSTILE)
    world.hostile_rows()
    return world


def obeyed(text: str) -> list[str]:
    """What of a text somebody would obey: characters, and lines that were forged."""
    characters = {repr(char) for char in text if not char.isprintable() and char != "\n"}
    return [*characters, *(line for line in text.split("\n") if line.startswith("FORGED"))]


def test_no_command_says_what_a_terminal_obeys(hostile: HostileWorld, capsys: pytest.CaptureFixture[str]) -> None:
    hostile.database.close()
    config = ["--config", str(hostile.settings.path)]
    found: dict[str, list[str]] = {}
    shows: set[str] = set()
    for command in COMMANDS:
        code = main([*command.split(), *config])
        said = capsys.readouterr()
        assert code in (0, 1, 5), (command, said.err)
        assert said.out, command
        out = said.out.replace("\r\n", "\n") if "export" in command else said.out
        found[command] = obeyed(out) + obeyed(said.err)
        shows |= {command} if "FORGED" in said.out else set()
        if "--json" in command or command == "export json":
            json.loads(said.out)
        elif command.startswith("export"):
            rows = list(csv.reader(io.StringIO(said.out, newline="")))
            cells = [cell for row in rows[1:] for cell in row]
            found[command] += [cell for cell in cells if cell.startswith(("=", "+", "@", "\t"))]
    assert {command: what for command, what in found.items() if what} == {}
    assert len(shows) >= 12, shows  # or nothing was tried


async def test_no_screen_shows_what_a_terminal_obeys(hostile: HostileWorld, tmp_path: Path) -> None:
    app = app_of(hostile, tmp_path)
    found: dict[str, list[str]] = {}
    shows: set[str] = set()
    async with app.run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        for name in PAGES:
            await app.action_page(name)
            await until(pilot, lambda name=name: name == app.page.NAME and app._reading_since_s is None)  # type: ignore[misc]
            await pilot.pause()
            found[name] = obeyed(shown(app))
            shows |= {name} if "FORGED" in shown(app) else set()
    hostile.database.close()
    assert {name: what for name, what in found.items() if what} == {}
    assert len(shows) >= 3, shows


async def test_what_is_copied_is_one_line_that_a_shell_may_be_given(hostile: HostileWorld, tmp_path: Path) -> None:
    app = app_of(hostile, tmp_path)
    async with app.run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        app._copy(HOSTILE)
        await asyncio.sleep(0)
        assert app.view.note.isprintable()
    hostile.database.close()


def test_an_alarm_and_a_log_line_are_harmless() -> None:
    row = AlarmRow(id=1, kind="clock_jump", subject=HOSTILE, text=HOSTILE, at=datetime.now(UTC))
    (message,) = _messages([row], 5)
    event = _harmless(None, "info", {"event": HOSTILE, "n": 3})
    assert not [
        char for char in f"{message.title}{message.text}{event['event']}" if not char.isprintable() and char != "\n"
    ]
    assert event["n"] == 3


@given(st.text())
def test_json_is_the_same_to_a_program_and_harmless_to_a_terminal(text: str) -> None:
    for indent in (None, 2):
        dumped = json_text({text: [text]}, indent=indent)
        assert json.loads(dumped) == {text: [text]}
        assert all(char.isprintable() or char == "\n" for char in dumped)


@given(st.text(st.characters(), max_size=400))
def test_a_name_is_kept_printable_and_short(text: str) -> None:
    assert printable(text).isprintable()
    assert named(text).isprintable()
    assert len(named(text)) <= max(240, 4 * text[:240].count("\t") + 240)
    assert printable(printable(text)) == printable(text)
