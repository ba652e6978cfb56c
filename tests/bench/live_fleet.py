"""The console's screen on a made-up fleet, of which cells change each second: what drawing costs, and nothing else.

`python -m tests.bench.live_fleet --tiers 50 --changes 50`. The fleet is no store's: figures are made up here.
"""

import argparse
import gc
import random
import tempfile
from dataclasses import replace
from itertools import accumulate, cycle, repeat
from pathlib import Path

from console.service import Service
from console.tui.app import MtokApp
from console.tui.look import Look
from console.tui.run import run_screen
from console.tui.view import View
from store.fleet_view import Fleet, TierView
from store.unknown import Unknown
from tests.console.fleet_world import FleetWorld, fleet_world

RANDOM = random.Random(7)
_SECONDS = 60  # then the same ones again


class MadeUp(Service):
    """Answers with a fleet of `tiers`, of which `changes` differ from the second before."""

    def __init__(self, world: FleetWorld, tiers: int, changes: int) -> None:
        super().__init__(world.database, world.settings, world.clock, actor="ada@192.0.2.7")
        first = super().fleet()
        first = replace(first, tiers=tuple(_named(first.tiers[n % 3], n) for n in range(tiers)))
        fleets = list(accumulate(repeat(changes, _SECONDS), _next, initial=first)) if changes else [first]
        self._fleets = cycle(fleets)  # made before the screen: to make them up is no part of what is measured

    def fleet(self) -> Fleet:
        """The next second's fleet."""
        return next(self._fleets)


def _next(fleet: Fleet, changes: int) -> Fleet:
    changed = set(RANDOM.sample(range(len(fleet.tiers)), min(changes, len(fleet.tiers))))
    return replace(fleet, tiers=tuple(_moved(tier) if n in changed else tier for n, tier in enumerate(fleet.tiers)))


def _named(tier: TierView, n: int) -> TierView:
    return replace(tier, spec=replace(tier.spec, name=f"tier-{n:04}"))


def _moved(tier: TierView) -> TierView:
    """Its spend of the five minutes is another."""
    now = tier.figures["5m"]
    if isinstance(now.spend, Unknown) or isinstance(now.usage, Unknown):
        return tier
    spend = replace(now.spend, nusd=RANDOM.randrange(10**8, 2 * 10**8))
    return replace(tier, figures={**tier.figures, "5m": replace(now, spend=spend)})


def main() -> None:
    """Run the screen until it is quit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tiers", type=int, default=50)
    parser.add_argument("--changes", type=int, default=50, help="cells that change each second")
    parser.add_argument("--plain-output", action="store_true")
    options = parser.parse_args()
    gc.disable()  # as `console.main` does, until the first picture stands
    with tempfile.TemporaryDirectory() as folder:
        world = fleet_world(Path(folder))
        for _ in range(7):
            world.tick()
        world.clock.advance(-58)
        service = MadeUp(world, options.tiers, options.changes)
        app = MtokApp(service, View(service.actor), Path(folder), Look(is_thin=not options.plain_output))
        status = run_screen(app)
    raise SystemExit(status)


if __name__ == "__main__":
    main()
