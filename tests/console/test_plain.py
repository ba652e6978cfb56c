"""The plain console: what is said, what is news, and that nothing acts on one line."""

import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlmodel import select

from console.plain import _look
from console.plain_lines import changes, everything, gate_sentence
from console.plain_talk import Talk
from console.service import Service
from store.tables import Allowance, GateClosure, OperationRow
from tests.console.fleet_world import FleetWorld, fleet_world
from tests.console.tui.live_store import MTOK, live_world
from tests.console.tui.picture_world import one_provider_dark, over_its_own_limit


def talk_of(world: FleetWorld) -> Talk:
    talk = Talk(world.service, "5m")
    talk.fleet = world.service.fleet()
    return talk


def operations(world: FleetWorld) -> list[tuple[str, str]]:
    with world.database.read() as session:
        return [(row.kind, row.tier) for row in session.exec(select(OperationRow)).all()]


def test_everything_is_said_in_sentences(world: FleetWorld) -> None:
    said = list(everything(world.service.fleet(), "5m"))
    assert said[0] == "the provider is SIMULATED: no money is spent"
    assert "gate OPEN, spent today $0.4150 of $200.00" in said
    assert (
        "tier h100: serving, spot; quoted $2.00 an hour; today $0.2000; in 5m: 94k tokens in, 282k out; "
        "$/Mtok output $0.5910; utilisation 70%, load not known" in said
    )
    assert all(text.isascii() for text in said)


def test_figures_are_no_news_and_states_are(world: FleetWorld) -> None:
    before = world.service.fleet()
    world.clock.advance(58)
    world.tick()
    assert list(changes(before, world.service.fleet())) == []
    world.asleep = frozenset({"l40"})
    world.tick(problem="HTTP 500")
    said = list(changes(before, world.service.fleet()))
    assert "tier l40: asleep, was serving" in said
    assert any(text.startswith("billing of cloud: STALE, HTTP 500") for text in said)


def test_what_has_not_been_seen_is_not_known_to_be_zero(tmp_path: Path) -> None:
    world = fleet_world(tmp_path)
    assert "spent today not known (" in gate_sentence(world.service.fleet())


def test_who_is_closed_alone_is_said_though_the_gate_is_open(tmp_path: Path) -> None:
    now = over_its_own_limit(tmp_path).service.fleet()
    told = gate_sentence(now)
    assert told.startswith("gate OPEN, spent today $")
    assert "; CLOSED for l40: $0.1" in told
    assert "of $0.10 spent today; opens tomorrow, or by a reset" in told
    scope = replace(now.verdict.tiers["l40"], reasons=())
    before = replace(now, verdict=replace(now.verdict, tiers={"l40": scope}))
    assert list(changes(before, now)) == [told]


def test_a_provider_that_is_dark_alone_is_said_once(tmp_path: Path) -> None:
    told = gate_sentence(one_provider_dark(tmp_path).service.fleet())
    assert told.startswith("gate OPEN, ")
    assert told.count("CLOSED for edge: last complete billing tick") == 1
    assert told.count("edge") == 1


def test_a_serving_tier_is_hibernated_by_its_name_alone(world: FleetWorld) -> None:
    talk = talk_of(world)
    asked = talk.feed("hibernate l40\n")
    assert "3 requests in flight" in asked[0]
    assert asked[-1] == "type l40 to go on; anything else cancels"
    assert talk.feed("yes") == ["hibernate l40: cancelled"]
    talk.feed("hibernate l40")
    assert operations(world) == []
    assert talk.feed("l40") == ["hibernate l40: asked; the collector carries it out"]
    assert operations(world) == [("hibernate", "l40")]


def test_the_gate_is_closed_opened_and_reset_with_reasons(tmp_path: Path) -> None:
    world = fleet_world(tmp_path, limit="0.10", minutes=7)
    world.clock.advance(-58)
    talk = talk_of(world)
    for command in ("gate close leak", "gate open mended", "gate reset 50 launch"):
        talk.feed(command)
        assert talk.feed("yes") == [f"{' '.join(command.split()[:2])}: asked; the collector carries it out"]
    with world.database.read() as session:
        (closure,) = session.exec(select(GateClosure)).all()
        (allowance,) = session.exec(select(Allowance)).all()
    assert (closure.reason, closure.opened_reason) == ("leak", "mended")
    assert (allowance.amount_nusd, allowance.reason) == (50 * 10**9, "launch")


def test_another_closing_than_the_one_that_was_said_is_not_opened(world: FleetWorld) -> None:
    world.service.close_gate("trying the runbook")
    talk = talk_of(world)
    assert talk.feed("gate open it works")[0] == "Closed by ada@192.0.2.7 (trying the runbook)."
    world.service.open_gate("tried")
    world.service.close_gate("keys leaked")
    (said,) = talk.feed("yes")
    assert "it is closed by ada@192.0.2.7 (keys leaked) now, no longer by" in said
    assert world.service.fleet().verdict.facts.closed_by == "ada@192.0.2.7 (keys leaked)"


def test_a_tier_that_serves_meanwhile_is_not_hibernated_by_a_yes(world: FleetWorld) -> None:
    world.service.close_gate("leak")
    talk = talk_of(world)
    assert talk.feed("hibernate l40")[-1].startswith("type yes")
    world.service.open_gate("mended")
    talk.fleet = world.service.fleet()
    assert talk.feed("yes") == ["hibernate l40: l40 is serving now, no longer running; nothing was changed"]
    assert operations(world) == []


def test_a_limit_that_somebody_else_has_added_to_is_not_added_to_again(tmp_path: Path) -> None:
    world = fleet_world(tmp_path, limit="0.60", minutes=7)
    world.clock.advance(-58)
    talk = talk_of(world)
    assert "It adds $50.00; today's limit becomes $50.60." in talk.feed("gate reset 50 launch")
    world.service.reset_gate(50 * 10**9, "another's")
    (said,) = talk.feed("yes")
    assert said == "gate reset: today's limit is $50.60 now, no longer $0.60; nothing was changed"


def test_euros_are_added_where_euros_alone_are_spent(tmp_path: Path) -> None:
    euros = frozenset({"h100"})
    world = fleet_world(tmp_path, more='daily = { EUR = "0.05" }', minutes=5, in_euro=euros)
    world.clock.advance(-58)
    talk = talk_of(world)
    assert talk.feed("gate reset 50 launch")[0] == "Reset the gate: €0.13 of €0.05 spent today."
    talk.feed("yes")
    with world.database.read() as session:
        assert [row.scope for row in session.exec(select(Allowance)).all()] == ["EUR"]


class Cut(Service):
    """The store goes away right behind the commit."""

    def close_gate(self, reason: str) -> None:
        super().close_gate(reason)
        path = self.settings.path.with_name("mtok.db")
        path.rename(path.with_suffix(".away"))


def test_what_has_been_done_is_told_as_done_though_the_store_has_gone_since(world: FleetWorld) -> None:
    talk = Talk(Cut(world.database, world.settings, world.clock, actor="ada"), "5m")
    talk.feed("gate close leak")
    assert talk.feed("yes") == ["gate close: asked; whether a collector leads, to carry it out, is not known"]


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("hibernate x", "there is no tier 'x'"),
        ("wake h100", "wake h100: it is"),
        ("gate reset much for x", "'much' is not a number"),
        ("dance", "status: every tier now"),
        ("window 1h", "figures are of the last 1h"),
    ],
)
def test_what_makes_no_sense_is_said(world: FleetWorld, typed: str, says: str) -> None:
    assert says in talk_of(world).feed(typed)[0]


def test_old_figures_are_said_to_be_old(world: FleetWorld, capsys: pytest.CaptureFixture[str]) -> None:
    talk, service = talk_of(world), world.service
    with world.database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE ticks RENAME TO gone")
    world.clock.advance(3600)
    _look(service, talk)
    _look(service, talk)
    (said,) = capsys.readouterr().out.splitlines()
    assert "09:06:02Z STALE: " in said
    for typed in ("status", "hibernate l40", "gate close leak", "gate reset 5 launch"):
        first, *rest = talk.feed(typed)
        assert first.startswith("STALE: read at 2026-11-24T08:06:02Z: ")
        assert "no such table" in first
        assert rest
        talk.feed("")
    with world.database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE gone RENAME TO ticks")
    _look(service, talk)
    assert "the store answers again" in capsys.readouterr().out
    assert "STALE: read at" not in " ".join(talk.feed("status"))


def test_before_the_first_reading_and_without_tiers_a_line_is_answered_all_the_same(world: FleetWorld) -> None:
    unread = Talk(world.service, "5m")
    assert unread.feed("status") == ["nothing has been read yet"]
    assert unread.feed("hibernate l40") == ["nothing has been read yet"]
    talk = talk_of(world)
    assert talk.fleet is not None
    talk.fleet = replace(talk.fleet, tiers=())
    assert talk.feed("window 1h") == ["figures are of the last 1h"]


def test_a_refusal_of_the_service_is_one_line(world: FleetWorld) -> None:
    talk = talk_of(world)
    talk.feed("gate reset 50 launch")
    (said,) = talk.feed("yes")
    assert "gate reset: " in said
    assert "nothing was changed" in said


def test_an_empty_line_cancels_and_quit_ends(world: FleetWorld) -> None:
    talk = talk_of(world)
    talk.feed("hibernate l40")
    assert talk.feed("") == ["hibernate l40: cancelled"]
    assert talk.feed("") == []
    talk.feed("quit")
    assert talk.is_over


@pytest.mark.parametrize(("options", "unbuffered"), [((), ""), (("--no-collect",), "1")])
def test_whoever_reads_has_gone_and_it_ends_without_a_traceback(
    tmp_path: Path, options: tuple[str, ...], unbuffered: str
) -> None:
    world = live_world(tmp_path)
    reading, writing = os.pipe()
    os.close(reading)  # as with `| true`
    words = [*MTOK, "console", "--plain", "--config", str(world.settings.path), *options]
    environ = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=writing, stderr=subprocess.PIPE, env=environ
    ) as process:
        os.close(writing)
        assert process.wait(60) == 128 + signal.SIGPIPE
        assert process.stderr is not None
        assert process.stderr.read() == b""
    world.database.close()


@pytest.mark.parametrize(
    ("options", "first"), [((), signal.SIGHUP), ((), signal.SIGINT), (("--no-collect",), signal.SIGHUP)]
)
def test_the_first_signal_ends_it_and_no_other_cuts_the_end_off(
    tmp_path: Path, options: tuple[str, ...], first: signal.Signals
) -> None:
    world = live_world(tmp_path)
    words = [*MTOK, "console", "--plain", "--config", str(world.settings.path), *options]
    environ = {**os.environ, "CLOUD_KEY": "key", "S": "s" * 40}
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while b"tier a100" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(first)
        while process.poll() is None:  # of two that wait the lower number comes first, which is `first`
            process.send_signal(signal.SIGTERM)
            time.sleep(0.002)
        assert process.returncode == 128 + first
        assert process.stderr.read() == b""
    world.database.close()
