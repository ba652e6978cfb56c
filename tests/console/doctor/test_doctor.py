"""`mtok doctor` over a small fleet: every check is one line with its remedy, and it changes nothing."""

import asyncio
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from console.cli import main
from console.demo.files import write_secret
from console.providers.simulator import Simulator, running_simulator
from console.providers.simulator_world import SimulatedWorld
from console.settings import load_settings
from store.clock import SetClock, SystemClock
from store.leader import release
from tests.conftest import History
from tests.console.hosts.conftest import Answering
from tests.databases import opened

WORLD = {
    "instances": [{"id": 8429, "name": "h100-a", "price_usd_per_hour": "2.00"}],
    "volumes": [{"id": 5341, "name": "weights", "price_usd_per_hour": "0.0193548", "attached_to": 8429}],
}
SETTINGS = """
[budget]
daily_usd = "200"
[alarms]
heartbeat_url = "http://127.0.0.1:1/beat"
channels = [{{ name = "ops", url_file = "secret" }}]
[providers.cloud]
kind = "simulator"
base_url = "{url}"
api_key_file = "key"
[[tiers]]
name = "h100"
provider = "cloud"
market = "spot"
instances = ["8429"]
volumes = ["5341"]
agents = []
"""
AGENT = '[{{ name = "a", instance = "8429", control_secret_file = "secret", {more} }}]'


@dataclass
class Patient:
    """A fleet in a folder, and what the doctor says of it."""

    folder: Path
    simulator: Simulator
    capsys: pytest.CaptureFixture[str]

    def change(self, old: str, new: str) -> None:
        path = self.folder / "mtok.toml"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def with_agent(self, more: str) -> None:
        self.change("agents = []", f"agents = {AGENT.format(more=more)}")

    def lines(self, *words: str) -> tuple[int, dict[str, str]]:
        """The exit code, and by what it is of, the rest of each line with its level first."""
        code = main(["doctor", "--config", str(self.folder / "mtok.toml"), *words])
        out, err = self.capsys.readouterr()
        assert err == ""
        found = {}
        for line in out.splitlines():
            level, rest = line[:6].strip(), line[7:]
            assert level in ("ok", "WARN", "FAILED"), line
            what, _, detail = rest.partition(": ")
            found[what] = f"{level} {detail}"
        for secret in ("the-key", "the-secret"):
            assert secret not in out
        return code, found


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a complete tick of just now, made once."""
    folder = tmp_path_factory.mktemp("template")
    told(folder)
    return folder / "mtok.db"


@pytest.fixture
def patient(template: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Patient]:
    """In good health: settings and secrets of our own alone, a collector that leads, a tick of just now."""
    tmp_path.chmod(0o700)
    write_secret(tmp_path / "key", "the-key")
    write_secret(tmp_path / "secret", "json://127.0.0.1/the-secret")
    with running_simulator(SimulatedWorld.from_json(WORLD, SystemClock()), "the-key") as simulator:
        (tmp_path / "mtok.toml").write_text(SETTINGS.format(url=simulator.base_url), encoding="utf-8")
        (tmp_path / "mtok.toml").chmod(0o600)
        shutil.copy(template, tmp_path)
        yield Patient(tmp_path, simulator, capsys)


def told(folder: Path, age: timedelta = timedelta(seconds=5), *, leads: bool = True, currency: str = "USD") -> None:
    """A store with one complete tick."""
    before = os.umask(0o007)
    try:
        with opened(f"sqlite:///{folder / 'mtok.db'}") as database:
            history = History(database, SetClock(datetime.now(UTC) - age))
            history.tick(history.bill(1, currency=currency), totals=history.totals(1, 10))
            if not leads:
                release(database, "test")
    finally:
        os.umask(before)


def test_a_healthy_fleet_has_nothing_but_ok(patient: Patient) -> None:
    code, found = patient.lines()
    assert code == 0, found
    assert [f"{what}: {line}" for what, line in found.items() if not line.startswith("ok")] == []
    assert {"settings", "rights, settings", "rights, secrets", "rights, store", "key, cloud", "alarms"} <= set(
        found
    )
    assert {"heartbeat", "versions", "terminal", "disk", "store", "collector", "ticks"} <= set(found)
    assert found["gate"] == "ok open"
    assert "2 resources, 2 bill counters" in found["provider, cloud"]
    assert found["clock, cloud"].endswith("s away from here")
    assert "version" in found["store"]
    assert "textual 8." in found["versions"]


def test_it_is_json_too_and_offline_asks_nobody(patient: Patient) -> None:
    before = patient.simulator.requests[:]
    code = main(["doctor", "--offline", "--json", "--config", str(patient.folder / "mtok.toml")])
    body = json.loads(patient.capsys.readouterr().out)
    assert (code, body["sound"]) == (0, True)
    assert {"what", "level", "detail", "remedy"} == set(body["checks"][0])
    assert not [one for one in body["checks"] if one["what"].startswith(("provider", "clock"))]
    assert patient.simulator.requests == before


def test_rights_of_files_are_said_with_the_command_that_mends_them(patient: Patient) -> None:
    folder = patient.folder
    (folder / "key").chmod(0o644)
    (folder / "secret").chmod(0o660)
    (folder / "mtok.toml").chmod(0o664)
    (folder / "mtok.db").chmod(0o666)
    folder.chmod(0o755)
    code, found = patient.lines("--offline")
    assert code == 1
    assert found["rights, settings"].startswith("FAILED")
    assert found["rights, settings"].endswith(f"chmod go-w {folder}/mtok.toml")
    assert found["rights, secrets"].startswith("FAILED")
    assert found["rights, store"] == (
        f"FAILED {folder}/mtok.db can be written by everybody; chmod o-rwx {folder}/mtok.db"
    )
    (folder / "mtok.db").chmod(0o664)
    assert patient.lines("--offline")[1]["rights, store"].startswith("WARN")


@pytest.mark.parametrize(
    ("change", "what", "says"),
    [
        (
            ('api_key_file = "key"', 'api_key_file = "none"'),
            "key, cloud",
            "FAILED providers.cloud.api_key: cannot read",
        ),
        (
            ('api_key_file = "key"', 'api_key_credential = "cloud"'),
            "key, cloud",
            "FAILED providers.cloud.api_key: credential cloud is systemd's",
        ),
        (('url_file = "secret"', 'url_file = "none"'), "alarms", "FAILED alarms.channels.ops: cannot read"),
        (('channels = [{ name = "ops", url_file = "secret" }]', ""), "alarms", "WARN no channel is set"),
        (('heartbeat_url = "http://127.0.0.1:1/beat"', ""), "heartbeat", "WARN no address is set"),
        (("[budget]", "[budgets]"), "settings", "FAILED "),
        (("[budget]", '[store]\nurl = "sqlite:///none/x.db"\n[budget]'), "disk", "FAILED there is no directory"),
        (("[budget]", '[store]\nurl = "sqlite:///new.db"\n[budget]'), "store", "WARN there is no "),
    ],
)
def test_what_is_missing_here_is_named(patient: Patient, change: tuple[str, str], what: str, says: str) -> None:
    patient.change(*change)
    code, found = patient.lines("--offline")
    assert found[what].startswith(says)
    assert code == (1 if says.startswith("FAILED") else 0)
    assert not (patient.folder / "new.db").exists()


@pytest.mark.parametrize("url", ["foo", "notaurl://", "json://127.0.0.1/the-secret, notaurl://x"])
def test_a_channel_that_apprise_does_not_know_is_a_failure(patient: Patient, url: str) -> None:
    (patient.folder / "secret").write_text(url, encoding="utf-8")
    code, found = patient.lines("--offline")
    assert code == 1
    assert found["alarms"].startswith("FAILED apprise does not understand the URL of ops; ")


def test_bills_in_a_currency_without_a_limit_are_failures(tmp_path: Path, patient: Patient) -> None:
    (tmp_path / "mtok.db").rename(tmp_path / "old.db")
    told(tmp_path, currency="EUR")
    patient.change('kind = "simulator"', 'kind = "simulator"\ncurrency = "EUR"')
    code, found = patient.lines()
    why = "FAILED bills in EUR, and [budget.daily] has no limit in it: the gate stays closed"
    assert code == 1
    assert found["limits"] == found["limits, cloud"] == f'{why}; write daily = {{ EUR = "…" }} in [budget]'
    patient.change("[budget]", '[budget]\ndaily = { EUR = "180" }')
    code, found = patient.lines()
    assert (code, found["gate"]) == (0, "ok open")
    assert not [what for what in found if what.startswith("limits")]


def test_a_dead_collector_and_an_old_tick_are_failures(tmp_path: Path, patient: Patient) -> None:
    (tmp_path / "mtok.db").rename(tmp_path / "old.db")
    told(tmp_path, timedelta(minutes=20), leads=False)
    code, found = patient.lines("--offline")
    assert code == 1
    assert found["gate"].startswith("WARN closed: last complete billing tick 12")
    assert found["gate"].endswith("; opens after two complete ticks; see mtok gate show")
    assert found["collector"].startswith("FAILED COLLECTOR DEAD")
    said = re.match(r"FAILED the last complete one was (\d+) s ago", found["ticks"])
    assert said is not None
    assert 1200 <= int(said[1]) < 1260  # this machine's own clock


def test_a_store_from_another_version_is_not_upgraded(patient: Patient) -> None:
    with opened(f"sqlite:///{patient.folder / 'mtok.db'}") as database, database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0003'")
    code, found = patient.lines("--offline")
    assert code == 1
    assert "run `mtok store migrate` with rights to write it" in found["store"]


def test_a_key_that_is_refused_and_a_clock_that_is_off_are_told_apart(patient: Patient) -> None:
    (patient.folder / "key").write_text("another", encoding="utf-8")
    code, found = patient.lines()
    assert code == 1
    assert found["provider, cloud"].startswith("FAILED")
    assert "401" in found["provider, cloud"]
    (patient.folder / "key").write_text("the-key", encoding="utf-8")
    patient.simulator.faults.set("clock")
    code, found = patient.lines()
    assert code == 1
    assert found["clock, cloud"].startswith("FAILED")
    assert found["clock, cloud"].endswith("timedatectl set-ntp true")


def test_what_the_account_lists_otherwise_than_the_settings_is_a_warning(patient: Patient) -> None:
    patient.change('volumes = ["5341"]', "volumes = []")
    code, found = patient.lines()
    assert (code, found["provider, cloud"].startswith("WARN")) == (0, True)
    assert "1 in no tier: volume 5341" in found["provider, cloud"]
    patient.change('instances = ["8429"]', 'instances = ["8429", "77"]')
    assert "not listed: instance 77 of tier h100" in patient.lines()[1]["provider, cloud"]


def test_an_ssh_agent_without_a_pinned_host_key_is_a_failure(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(patient.folder))
    patient.with_agent('ssh_user = "ubuntu"')
    code, found = patient.lines("--offline")
    assert code == 1
    assert found["host key, a"].endswith("mtok host trust a")
    (patient.folder / ".ssh").mkdir()
    (patient.folder / ".ssh" / "known_hosts").write_text("8429 ssh-ed25519 AAAA\n", encoding="utf-8")
    assert patient.lines("--offline")[1]["host key, a"].startswith("ok 8429 is pinned")


async def test_an_agent_is_asked_for_its_version_unless_its_instance_sleeps(
    patient: Patient, answering: Answering
) -> None:
    patient.with_agent(f'control_url = "http://127.0.0.1:{answering.port}"')
    code, found = await asyncio.to_thread(patient.lines)
    assert (code, found["agent, a"]) == (0, "ok mtok 0.1.0, reference engine, no model")
    answering.body = b'{"engine": "\\u001b[2J", "version": "0.0.9"}'
    code, found = await asyncio.to_thread(patient.lines)
    assert (code, found["agent, a"][:26]) == (0, "WARN it is mtok 0.0.9, and")
    assert found["agent, a"].endswith("mtok host install a")
    answering.body = b"[]"
    code, found = await asyncio.to_thread(patient.lines)
    assert (code, found["agent, a"].startswith("FAILED")) == (1, True)
    (instance,) = (one for one in patient.simulator.world.resources if one.id == 8429)
    instance.history.append((0, "HIBERNATED"))
    assert (await asyncio.to_thread(patient.lines))[1]["agent, a"] == "ok its instance is HIBERNATED"


def test_looking_changes_nothing(patient: Patient) -> None:
    settings = load_settings(patient.folder / "mtok.toml")
    before = Path(settings.store_url.removeprefix("sqlite:///")).read_bytes()
    patient.lines("--offline")
    assert (patient.folder / "mtok.db").read_bytes() == before
