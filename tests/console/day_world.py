"""A made-up day of the fleet, minute by minute, for pictures of screens that need hours: traffic, a gap, sleep."""

import math
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from store.readings import AgentReading, Bill, LedgerTotals
from tests.console.fleet_world import RATES, START, TIERS, FleetWorld, fleet_world

PEAK_TOKENS_PER_S = {"h100": 1_700, "l40": 520, "a100": 760}
ASLEEP_NUSD_PER_HOUR = 16_400_000
_GAP = range(700, 731)  # minutes in which the provider does not answer
_NIGHT = range(1_330, 1_700)  # in which the L40 sleeps


@dataclass
class DayWorld(FleetWorld):
    """Three tiers whose traffic follows the sun; what is served and billed is added up, never made from a rate."""

    served: dict[str, int] = field(default_factory=dict)
    busy_ms: dict[str, int] = field(default_factory=dict)
    billed_nusd: dict[str, int] = field(default_factory=dict)

    def live(self, minutes: int) -> None:
        """So many minutes, one tick each."""
        for _ in range(minutes):
            minute = self.ticks
            self.asleep = frozenset({"l40"} if minute in _NIGHT else ())
            self._serve(minute)
            self.tick("HTTP 503 from the provider" if minute in _GAP else None)

    def _serve(self, minute: int) -> None:
        for name, _, _, id_ in TIERS:  # a bill runs on whoever reads it
            rate = ASLEEP_NUSD_PER_HOUR if name in self.asleep else RATES[id_]
            self.billed_nusd[id_] = self.billed_nusd.get(id_, 10**10) + rate // 60
        for number, name in enumerate(PEAK_TOKENS_PER_S):
            sun = math.sin(math.pi * ((minute + 170 * number) % 1440) / 1440) ** 2
            wobble = 0.9 + 0.2 * abs(math.sin(minute / (7 + number)))
            share = 0.0 if name in self.asleep else min(0.06 + 0.8 * sun * wobble, 1.0)
            tokens = int(PEAK_TOKENS_PER_S[name] * 60 * share)
            self.served[name] = self.served.get(name, 0) + tokens
            self.busy_ms[name] = self.busy_ms.get(name, 0) + int(60_000 * min(share * 1.2, 1.0))

    def _bill(self, name: str, id_: str) -> Bill:
        whole = super()._bill(name, id_)
        return Bill(
            **{
                **{slot: getattr(whole, slot) for slot in whole.__dataclass_fields__},
                "total_nusd": self.billed_nusd[id_],
                "raw": f"{self.billed_nusd[id_] / 10**9:.9f}",
            }
        )

    def _agent(self, name: str) -> AgentReading:
        if name in self.asleep:
            return AgentReading(name, None, "no answer (its instance is asleep)", asleep=True)
        served = self.served.get(name, 0)
        totals = LedgerTotals(
            uuid=f"ledger-{name}",
            created_at=START - timedelta(days=3),
            prompt_tokens=served * 4,
            cached_tokens=served,
            completion_tokens=served,
            delivered_tokens=served,
            requests=served // 310,
            busy_ms=self.busy_ms.get(name, 0),
        )
        return AgentReading(name, totals, None, capacity_per_ks=int(PEAK_TOKENS_PER_S[name] * 1_050))


def day_world(folder: Path, limit: str = "200") -> DayWorld:
    """A world whose store and settings lie in `folder`, before its first minute."""
    made = fleet_world(folder, limit)
    return DayWorld(made.database, made.settings, made.clock)
