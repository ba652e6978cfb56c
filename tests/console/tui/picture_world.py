"""The states that every screen is pictured in: what the store holds, and what is wrong with it."""

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from sqlmodel import col, select

from console.settings import load_settings
from store.gate import Reason
from store.inventory import mark_lease, mark_unreachable
from store.operations import enter, finish, request, seen_state
from store.phases import OperationKind, OperationOutcome, Phase
from store.readings import AgentReading, Bill, ProviderReading, TickReadings
from store.states import keep_states
from store.tables import BillCounter, Leadership, ResourceRow
from store.verdicts import verdict_now
from tests.console.day_world import DayWorld
from tests.console.fleet_world import TIERS, fleet_world

DARK = "HTTP 503 from the provider"
EDGE = ("cloud", "edge")
_EDGE = """[providers.edge]
kind = "simulator"
api_key_env = "EDGE_KEY"
[providers.cloud]"""
SILENCE = "no answer within 10 s"
_WOKEN_S = {
    Phase.PROVIDER: 2,
    Phase.ACCEPTED: 3,
    Phase.RUNNING: 98,
    Phase.REACHABLE: 120,
    Phase.ANSWERING: 131,
    Phase.LOADED: 250,
    Phase.LEASED: 270,
    Phase.FIRST_TOKEN: 280,
}


@dataclass
class PictureWorld(DayWorld):
    """`silent`: tiers whose agent does not answer; `unbilled`: those of which no bill and no quote is known."""

    silent: frozenset[str] = frozenset()
    unbilled: frozenset[str] = frozenset()

    def minutes(self, count: int, problem: str | None = None) -> None:
        """So many ticks; `problem` is all that the provider answers."""
        for _ in range(count):
            self._serve(self.ticks)
            self.tick(problem)

    def tick(self, problem: str | None = None) -> None:
        """A minute, at whose end no agent has an open lease while the gate is closed."""
        super().tick(problem)
        self.clock.advance(-60)
        self.lease()
        self.clock.advance(60)

    def lease(self) -> None:
        """Take the leases that the gate no longer gives."""
        with self.database.write() as session:
            verdict, names = (
                verdict_now(session, self.settings.gate_policy, self.clock.now()),
                [t[0] for t in TIERS],
            )
            shut = [f"{name}-a" for name in names if verdict.reasons_for(name)]
            mark_lease(session, shut, is_open=False)
            session.flush()
            keep_states(session, self.clock.now())

    def _bills(self) -> tuple[Bill, ...]:
        return tuple(bill for bill in super()._bills() if bill.tier not in self.unbilled)

    def _agent(self, name: str) -> AgentReading:
        return AgentReading(name, None, SILENCE) if name in self.silent else super()._agent(name)

    def _keep_inventory(self) -> None:
        super()._keep_inventory()
        with self.database.write() as session:
            for name in self.silent:
                mark_unreachable(session, f"{name}-a", name, SILENCE)
            for row in session.exec(select(ResourceRow).where(col(ResourceRow.tier).in_(self.unbilled))).all():
                row.rate_nusd_per_hour = None
                session.add(row)
            keep_states(session, self.clock.now())


@dataclass
class EdgeWorld(PictureWorld):
    """The L40 is of another provider, `edge`, which alone has the problem of a tick."""

    def readings(self, problem: str | None) -> TickReadings:
        """What both say."""
        whole = super().readings(None)
        bills = {
            name: tuple(bill for bill in self._bills() if (bill.tier == "l40") == (name == "edge")) for name in EDGE
        }
        return replace(
            whole,
            providers={
                "cloud": ProviderReading(bills["cloud"], None, 12),
                "edge": ProviderReading(() if problem else bills["edge"], problem, 40),
            },
            tiers={**whole.tiers, "l40": replace(whole.tiers["l40"], provider="edge")},
        )

    def _resource(self, name: str, id_: str) -> ResourceRow:
        row = super()._resource(name, id_)
        row.provider = "edge" if name == "l40" else "cloud"
        return row


def picture_world(folder: Path, limit: str = "200", more: str = "") -> PictureWorld:
    """A world whose store and settings lie in `folder`, before its first minute; `more` settings of the budget."""
    made = fleet_world(folder, limit, more)
    return PictureWorld(made.database, made.settings, made.clock)


def healthy(folder: Path) -> PictureWorld:
    """Two hours of traffic: a tier is woken, the gate closed by hand and opened again, a tier put to sleep."""
    world = picture_world(folder)
    world.asleep = frozenset({"l40"})
    world.minutes(20)
    _wake(world, "l40")
    world.asleep = frozenset()
    world.minutes(60)
    world.service.close_gate("leak in the key store")
    world.minutes(4)
    world.service.open_gate("mended")
    world.minutes(40)
    _hibernate(world, "a100")
    world.asleep = frozenset({"a100"})
    world.minutes(10)
    world.clock.advance(-58)
    return world


def dark(folder: Path) -> PictureWorld:
    """The provider has not answered for four minutes: the gate has closed."""
    world = picture_world(folder)
    world.minutes(8)
    world.minutes(4, DARK)
    world.clock.advance(-58)
    return world


def dead(folder: Path) -> PictureWorld:
    """No collector has led for two minutes: every source is stale, and the gate is about to close."""
    world = picture_world(folder)
    world.minutes(8)
    with world.database.write() as session:
        for led in session.exec(select(Leadership)).all():
            session.delete(led)
    world.clock.advance(65)
    return world


def without_tiers(folder: Path) -> PictureWorld:
    """Settings that name no tier."""
    world = picture_world(folder)
    return replace(world, settings=world.settings.model_copy(update={"tiers": ()}))


def after_one_tick(folder: Path) -> PictureWorld:
    """Every figure needs a second tick."""
    world = picture_world(folder)
    world.minutes(1)
    world.clock.advance(-58)
    return world


def unknown(folder: Path) -> PictureWorld:
    """One tier whose agent has stopped answering, one of which no bill has come, one whose agent never answered."""
    world = picture_world(folder)
    world.silent, world.unbilled = frozenset({"a100"}), frozenset({"l40"})
    world.minutes(6)
    world.silent = frozenset({"a100", "h100"})
    world.minutes(4)
    world.clock.advance(-58)
    return world


def closed(folder: Path, reason: Reason) -> PictureWorld:
    """A gate that is closed for this reason alone."""
    if reason is Reason.DARK:
        return dark(folder)
    world = picture_world(folder, "0.50" if reason in (Reason.EXHAUSTED, Reason.RESERVED) else "200")
    if reason is Reason.UNOBSERVED:
        world.minutes(2, DARK)
    else:
        world.minutes({Reason.RESERVED: 3}.get(reason, 9))
    if reason is Reason.MANUAL:
        world.service.close_gate("leak in the key store")
        world.lease()
    elif reason is Reason.FROZEN:
        for _ in range(20):
            world.tick()  # nothing is billed meanwhile
    elif reason is Reason.UNSETTLED:
        unsettle(world)
    world.clock.advance(-58)
    return world


def unsettle(world: PictureWorld) -> None:
    """The first counter has vanished, and nobody knows what its last bill was."""
    with world.database.write() as session:
        counter = session.exec(select(BillCounter).order_by(col(BillCounter.id))).first()
        assert counter is not None
        counter.unsettled_at = world.clock.now()
        session.add(counter)
    world.minutes(1)


def over_its_own_limit(folder: Path) -> PictureWorld:
    """One tier has spent what it may; the others serve."""
    world = picture_world(folder)
    path = folder / "mtok.toml"
    named = 'name = "l40"\n'
    path.write_text(
        path.read_text(encoding="utf-8").replace(named, f'{named}daily_usd = "0.10"\n'), encoding="utf-8"
    )
    world.settings = load_settings(path)
    world.minutes(9)
    world.clock.advance(-58)
    return world


def one_provider_dark(folder: Path) -> PictureWorld:
    """A provider's sight is its own tiers' alone: they do not serve, and the gate of the account is open."""
    world = picture_world(folder, more='scope = "provider"')
    path = folder / "mtok.toml"
    text = path.read_text(encoding="utf-8").replace("[providers.cloud]", _EDGE, 1)
    head, name, rest = text.partition('name = "l40"')
    path.write_text(f"{head}{name}{rest.replace('cloud', 'edge', 1)}", encoding="utf-8")
    edge = EdgeWorld(world.database, load_settings(path), world.clock)
    edge.minutes(8)
    edge.minutes(4, DARK)
    edge.clock.advance(-58)
    return edge


def clock_set_back(folder: Path) -> PictureWorld:
    """The last tick is of ten minutes from now."""
    world = picture_world(folder)
    world.minutes(9)
    world.clock.advance(-660)
    world.lease()
    return world


def closed_for_all(folder: Path) -> PictureWorld:
    """As many reasons at once as there can be."""
    world = picture_world(folder, "0.50", 'daily = { EUR = "0.10" }')
    world.in_euro = frozenset({"l40"})
    world.minutes(16)
    world.service.close_gate("leak in the key store, see the incident channel; do not open without asking bob")
    for _ in range(17):
        world.tick()
    for _ in range(4):
        world.tick(DARK)
    world.clock.advance(-58)
    return world


def _wake(world: PictureWorld, tier: str) -> None:
    """A wake from its asking to its first token, as the collector would have done it."""
    with world.database.write() as session:
        at, seen = world.clock.now(), seen_state(session, tier)
        row = request(session, at, OperationKind.WAKE, tier, actor="bob@192.0.2.9", reason="morning", seen=seen)
        for phase, seconds in _WOKEN_S.items():
            enter(session, row, phase, at + timedelta(seconds=seconds))
        finish(session, row, OperationOutcome.DONE, at + timedelta(seconds=281))


def _hibernate(world: PictureWorld, tier: str) -> None:
    with world.database.write() as session:
        at, seen = world.clock.now(), seen_state(session, tier)
        why = "no token for 15 min"
        row = request(session, at, OperationKind.HIBERNATE, tier, actor="idle rule", reason=why, seen=seen)
        for phase, seconds in {Phase.DRAINING: 1, Phase.DRAINED: 9, Phase.PROVIDER: 10, Phase.ASLEEP: 70}.items():
            enter(session, row, phase, at + timedelta(seconds=seconds))
        finish(session, row, OperationOutcome.DONE, at + timedelta(seconds=190))
