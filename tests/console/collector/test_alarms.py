"""Alarms reach a real receiver, once each, at a bounded rate; what fails is journaled and tried again."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sqlmodel import select
from structlog.testing import capture_logs

from console.collector.alarms import Alarms, Channels
from console.collector.build import build_collector
from console.collector.clock_jumps import ClockJumps
from console.collector.tick import Collector
from console.settings import load_settings
from store.alarms import Condition, follow, tell, untold
from store.database import Database
from store.errors import FenceLost
from store.readings import AgentReading
from store.tables import AlarmRow, JournalEntry
from tests.commands import mtok
from tests.conftest import START, History

SETTINGS = """
[budget]
daily_usd = "100"
[alarms]
most_per_10_min = {most}
heartbeat_url = "{url}/beat"
channels = [{{ name = "ops", url_file = "channel" }}]
[providers.cloud]
kind = "simulator"
base_url = "http://127.0.0.1:1"
api_key_file = "key"
[[tiers]]
name = "h100"
provider = "cloud"
market = "spot"
instances = ["8429"]
"""


@dataclass
class Receiver:
    """An HTTP server that keeps what it was told, and can refuse."""

    url: str = ""
    status: int = 200
    told: list[str] = field(default_factory=list)
    beats: int = 0
    beat_status: int = 200


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            receiver.beats += 1
            self._answer(receiver.beat_status)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            receiver.told.append(f"{body['title']}: {body['message']}")
            self._answer(receiver.status)

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def configured(folder: Path, receiver: Receiver, most: int = 20) -> Path:
    (folder / "key").write_text("key", encoding="utf-8")
    (folder / "channel").write_text(receiver.url.replace("http://", "json://"), encoding="utf-8")
    path = folder / "mtok.toml"
    path.write_text(SETTINGS.format(url=receiver.url, most=most), encoding="utf-8")
    return path


@pytest.fixture
async def collector(
    history: History, database: Database, receiver: Receiver, tmp_path: Path
) -> AsyncIterator[Collector]:
    built = build_collector(database, load_settings(configured(tmp_path, receiver)), history.clock)
    yield built
    await built.account.close()


def alarms_of(collector: Collector) -> Alarms:
    return Alarms(collector, Channels(collector.settings))


async def test_a_gate_that_closes_and_opens_is_told_once_each(
    collector: Collector, history: History, receiver: Receiver
) -> None:
    alarms = alarms_of(collector)
    for problem in (None, None, "HTTP 500", "HTTP 500", "HTTP 500", None, None, None):
        bills = () if problem else (history.bill(0),)
        history.tick(*bills, totals=history.totals(0, 0), problem=problem)
        await collector.decide(history.fence)
        await alarms.run(history.fence)
        await alarms.run(history.fence)
    assert [line.partition(": last")[0] for line in receiver.told] == [
        "mtok: gate closed: the gate is closed",
        "mtok: gate opened: the gate is open again",
    ]


async def test_each_share_of_the_budget_is_told_once_a_day(
    collector: Collector, history: History, receiver: Receiver
) -> None:
    alarms = alarms_of(collector)
    for usd in (0, 50, 50, 60, 80, 90):
        history.tick(history.bill(usd * 10**9, rate_nusd_per_hour=0), totals=history.totals(0, 0))
        await collector.decide(history.fence)
        await alarms.run(history.fence)
    shares = [line for line in receiver.told if "budget" in line]
    assert [line[-6:] for line in shares] == ["(50 %)", "(80 %)"]


async def test_a_restored_ledger_is_told_once(collector: Collector, history: History, receiver: Receiver) -> None:
    alarms = alarms_of(collector)
    for tokens in (900, 400, 500):
        history.tick(history.bill(0), totals=history.totals(tokens, tokens))
        await collector.decide(history.fence)
        await alarms.run(history.fence)
    (line,) = [line for line in receiver.told if "ledger fell" in line]
    assert "what h100-a served from 2026-11-24T08:00:00Z to 2026-11-24T08:01:00Z is lost" in line


async def test_a_cloned_ledger_is_told_once_and_is_over_when_one_of_them_is_new(
    collector: Collector, database: Database, history: History, receiver: Receiver
) -> None:
    one = AgentReading("h100", history.totals(1, 1), None)
    for total, second in ((100, one), (200, one), (300, AgentReading("h100", None, "no answer"))):
        history.tick(history.bill(total), agents={"h100-a": one, "h100-b": second})
        await collector.decide(history.fence)
        await alarms_of(collector).run(history.fence)
    (line,) = [line for line in receiver.told if "one ledger" in line]
    assert "agents h100-a and h100-b have one ledger; one of them is a cloned disk" in line
    with database.read() as session:
        (alarm,) = session.exec(select(AlarmRow).where(AlarmRow.kind == "ledger_cloned")).all()
        assert alarm.ended_at is not None


async def test_what_was_not_delivered_is_journaled_and_tried_again(
    collector: Collector, database: Database, history: History, receiver: Receiver
) -> None:
    alarms = alarms_of(collector)
    receiver.status = 500
    await collector.decide(history.fence)
    await alarms.run(history.fence)
    with database.read() as session:
        (alarm,) = session.exec(select(AlarmRow)).all()
        assert (alarm.tries, alarm.problem, alarm.told_at) == (1, "ops: it was not accepted", None)
        assert any(entry.what == "alarm not delivered" for entry in session.exec(select(JournalEntry)))
    receiver.status = 200
    history.clock.advance(60)
    await alarms.run(history.fence)
    with database.read() as session:
        assert untold(session, history.clock.now()) == []
    assert len(receiver.told) == 2


async def looked_often(alarms: Alarms, history: History, seconds: int) -> None:
    for _ in range(0, seconds, 10):
        await alarms.run(history.fence)
        history.clock.advance(10)


async def test_an_alarm_outlasts_a_network_that_is_down_and_its_tries_grow_rare(
    collector: Collector, history: History, receiver: Receiver
) -> None:
    alarms = alarms_of(collector)
    receiver.status = 500
    await collector.decide(history.fence)
    await looked_often(alarms, history, 200)
    assert len(receiver.told) == 3  # at once, after a minute, after two more
    for _ in range(30):
        history.clock.advance(3600)
        await alarms.run(history.fence)
    receiver.status, receiver.told = 200, []
    history.clock.advance(900)
    await alarms.run(history.fence)
    await alarms.run(history.fence)
    assert len(receiver.told) == 1  # it lasts: it is not too old


async def test_what_is_over_for_a_day_is_not_told_any_more(
    collector: Collector, database: Database, history: History, receiver: Receiver
) -> None:
    with database.write() as session:
        tell(session, history.clock.now(), "clock_jump", "collector", "it jumped")
    history.clock.advance(timedelta(days=1).total_seconds())
    await alarms_of(collector).run(history.fence)
    assert receiver.told == []


async def test_a_channel_that_has_taken_an_alarm_is_not_told_again(
    database: Database, history: History, receiver: Receiver, tmp_path: Path
) -> None:
    path = configured(tmp_path, receiver)
    with receiving() as broken:
        broken.status = 500
        (tmp_path / "second").write_text(broken.url.replace("http://", "json://"), encoding="utf-8")
        both = '[{ name = "ops", url_file = "channel" }, { name = "second", url_file = "second" }]'
        text = path.read_text(encoding="utf-8").replace('[{ name = "ops", url_file = "channel" }]', both)
        path.write_text(text, encoding="utf-8")
        built = build_collector(database, load_settings(path), history.clock)
        await built.decide(history.fence)
        await looked_often(alarms_of(built), history, 200)
        assert (len(receiver.told), len(broken.told)) == (1, 3)
        with database.read() as session:
            notes = [one for one in session.exec(select(JournalEntry)) if one.what == "alarm not delivered"]
        assert [one.subject for one in notes] == ["second"]
    await built.account.close()


async def test_messages_that_nobody_takes_count_as_messages(
    database: Database, history: History, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.status = 500
    bounded = build_collector(database, load_settings(configured(tmp_path, receiver, most=3)), history.clock)
    with database.write() as session:
        follow(session, START, [Condition("bill_frozen", f"c{n}", f"c{n} stands still") for n in range(7)])
    await looked_often(alarms_of(bounded), history, 300)
    assert len(receiver.told) == 3
    await bounded.account.close()


async def test_a_storm_is_told_at_a_bounded_rate_and_nothing_of_it_is_lost(
    collector: Collector, database: Database, history: History, receiver: Receiver, tmp_path: Path
) -> None:
    settings = load_settings(configured(tmp_path, receiver, most=3))
    bounded = build_collector(database, settings, history.clock)
    alarms = alarms_of(bounded)
    with database.write() as session:
        follow(session, START, [Condition("bill_frozen", f"c{n}", f"c{n} stands still") for n in range(7)])
    await alarms.run(history.fence)
    await alarms.run(history.fence)
    assert len(receiver.told) == 3
    assert "4 more alarms wait" in receiver.told[-1]
    for _ in range(2):
        history.clock.advance(601)
        await alarms.run(history.fence)
    assert len(receiver.told) == 7
    await bounded.account.close()


async def test_the_outside_hears_of_a_complete_tick(collector: Collector, receiver: Receiver) -> None:
    await alarms_of(collector).heartbeat()
    assert receiver.beats == 1


def test_a_jump_of_the_wall_clock_is_seen_and_slewing_is_not(history: History) -> None:
    jumps = ClockJumps(history.clock)
    assert jumps.look() == 0
    history.clock.advance(60)
    history.clock.jump(0.5)
    assert jumps.look() == 0
    history.clock.jump(-timedelta(days=1).total_seconds())
    assert jumps.look() == -86_400


async def test_a_jump_that_cost_the_lead_is_told_by_whoever_leads_again(
    collector: Collector, database: Database, history: History, receiver: Receiver
) -> None:
    alarms = alarms_of(collector)
    await alarms.run(history.fence)
    history.clock.jump(3600)
    with pytest.raises(FenceLost):
        await alarms.run(history.fence + 1)
    history.clock.advance(5)
    for _ in range(2):
        await alarms.run(history.fence)
    said = "mtok: clock jump: the wall clock of the collector jumped by +3600 s, to 2026-11-24T09:00:00Z; check NTP"
    assert [one for one in receiver.told if "clock jump" in one] == [said]
    with database.read() as session:
        notes = [one.what for one in session.exec(select(JournalEntry)) if one.what == "clock jumped"]
    assert len(notes) == 1


async def test_a_test_alarm_reaches_every_channel(receiver: Receiver, tmp_path: Path) -> None:
    path = configured(tmp_path, receiver)
    for name in ("key", "channel"):
        (tmp_path / name).chmod(0o600)
    code, out, _ = await asyncio.to_thread(mtok, "doctor", "--offline", "--send-test-alarm", "--config", str(path))
    assert (code, receiver.told[0][:17]) == (0, "mtok: test alarm:")
    assert "ok     alarms, ops: the test alarm was taken" in out
    receiver.status = 500
    code, out, _ = await asyncio.to_thread(mtok, "doctor", "--offline", "--send-test-alarm", "--config", str(path))
    assert code == 1
    assert "FAILED alarms, ops: it was not accepted" in out
    (tmp_path / "channel").unlink()
    code, out, _ = await asyncio.to_thread(mtok, "doctor", "--offline", "--config", str(path))
    assert code == 1
    assert "alarms.channels.ops" in out


async def test_an_address_that_refuses_is_not_in_the_log(collector: Collector, receiver: Receiver) -> None:
    receiver.beat_status = 500
    with capture_logs() as logs:
        await alarms_of(collector).heartbeat()
    assert [one["problem"] for one in logs] == ["HTTP 500"]
    assert "/beat" not in str(logs)
