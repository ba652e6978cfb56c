"""One fault at a time, then two: real processes, a real load, and a row of measurements for each.

`python -m tests.chaos.suite` runs all and prints the table; a row that does not hold ends it with 1.
"""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from store.money import display_usd
from tests.chaos.faults import FULL, SHORT, Fault
from tests.chaos.fleet import DARK_AFTER_S, MAX_IN_FLIGHT_S, PROMISE_S, SLACK_S, Fleet, Look, running_fleet

_OBSERVES_S = PROMISE_S + 4.0
_TICK_UNDER_WAY = timedelta(seconds=3)  # one that had begun before the fault may still be complete


@dataclass(frozen=True)
class Row:
    """`stopped_s`: from the last complete tick to the last token of a blind agent; None where none is blind.

    `billed_nusd`: what the provider billed from that tick until the healing; `bound_nusd`: what mtok had promised
    before, as the most that may be spent beyond the limit.
    """

    fault: str
    stopped_s: float | None
    blind_tokens: int
    lost_entries: int
    billed_nusd: int
    bound_nusd: int
    back_s: float
    problem: str | None

    @property
    def holds(self) -> bool:
        """Whether everything that was promised came to be."""
        is_within = self.billed_nusd <= self.bound_nusd
        return self.problem is None and self.blind_tokens == 0 and self.lost_entries == 0 and is_within


def run(faults: Sequence[Fault]) -> list[Row]:
    """Break a fleet in each way, and heal it."""
    with tempfile.TemporaryDirectory(prefix="mtok-chaos-") as folder, running_fleet(Path(folder) / "demo") as fleet:
        fleet.wait_until_open()
        return [_row(fleet, fault) for fault in faults if fleet.disk.is_mounted or not fault.needs_disk]


def _row(fleet: Fleet, fault: Fault) -> Row:
    bound_nusd = fleet.bound_nusd()
    seen_at = fleet.last_complete_at() or datetime.now(UTC)  # of a store that is then gone nothing later is known
    began_at = datetime.now(UTC)
    fault.begin(fleet)
    _observe(fleet, fault.lasts_s or _OBSERVES_S)
    last_at = max(seen_at, fleet.last_complete_at() or seen_at)
    if not fault.needs_disk:  # on a full disk ticks are stored for as long as the log's own pages last
        last_at = max(seen_at, min(last_at, began_at + _TICK_UNDER_WAY))
    fault.heal(fleet)
    healed_at = datetime.now(UTC)
    problem = None
    try:
        back_s = fleet.wait_until_open()
    except TimeoutError as error:
        back_s, problem = float("inf"), str(error)
    blind = {"all": fleet.agents, "one": fleet.agents[:1], "none": []}[fault.blinds]
    during = [look for look in fleet.looks if began_at <= look.at <= healed_at]
    if fault.stays_open and not all(_seen_open(during).get(name, False) for name in fleet.agents):
        problem = "service stopped although it need not"
    noticed_at = last_at + timedelta(seconds=DARK_AFTER_S)
    if fault.noticed_s is not None:
        noticed_at = began_at + timedelta(seconds=fault.noticed_s)
    promised_at = noticed_at + timedelta(seconds=MAX_IN_FLIGHT_S + SLACK_S)
    return Row(
        fault=fault.name,
        stopped_s=_stopped_s(during, blind, last_at),
        blind_tokens=_served_after(during, blind, promised_at),
        lost_entries=_lost(fleet),
        billed_nusd=fleet.billed_nusd(last_at, healed_at),
        bound_nusd=bound_nusd,
        back_s=back_s,
        problem=problem,
    )


def _observe(fleet: Fleet, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.1)
    assert fleet.looks


def _seen_open(looks: Sequence[Look]) -> dict[str, bool]:
    """By agent, whether it was open in every look that it answered."""
    seen: dict[str, bool] = {}
    for look in looks:
        for name, is_open in look.is_open.items():
            seen[name] = seen.get(name, True) and is_open
    return seen


def _stopped_s(looks: Sequence[Look], agents: Sequence[str], last_at: datetime) -> float | None:
    if not agents or not looks:
        return None
    final = looks[-1].tokens
    moving = [look.at for look in looks if any(look.tokens.get(name) != final.get(name) for name in agents)]
    return (max(moving) - last_at).total_seconds() if moving else 0.0


def _served_after(looks: Sequence[Look], agents: Sequence[str], promised_at: datetime) -> int:
    after = [look for look in looks if look.at >= promised_at]
    if not after:
        return 0
    return sum(after[-1].tokens.get(name, 0) - after[0].tokens.get(name, 0) for name in agents)


def _lost(fleet: Fleet) -> int:
    """Tokens that clients were told of and no ledger has: none, or an entry was lost."""
    report = json.loads((fleet.world.state / "load.json").read_text(encoding="utf-8"))
    held = fleet.whole_look_since(datetime.now(UTC)).tokens
    lost = 0
    for agent in fleet.world.agents:
        lost += max(report["tiers"][agent.tier.name]["completion_tokens"] - held[agent.name], 0)
    return lost


def table(rows: Sequence[Row]) -> Table:
    """The rows for a person."""
    made = Table(box=None, pad_edge=False, header_style="")
    for heading in (
        "fault",
        "dark after s",
        "blind tokens",
        "lost tokens",
        "billed $",
        "bound $",
        "back after s",
        "",
    ):
        made.add_column(heading, justify="left" if heading in ("fault", "") else "right")
    for row in rows:
        stopped = "—" if row.stopped_s is None else f"{row.stopped_s:.1f}"
        word = "holds" if row.holds else f"DOES NOT HOLD {row.problem or ''}"
        tokens = (str(row.blind_tokens), str(row.lost_entries))
        money = (display_usd(row.billed_nusd, 4), display_usd(row.bound_nusd, 4))
        made.add_row(row.fault, stopped, *tokens, *money, f"{row.back_s:.1f}", word)
    return made


def main(words: Sequence[str]) -> int:
    """Run the full suite, or the short one with `--short`, or those whose name holds a word."""
    faults = SHORT if "--short" in words else FULL
    wanted = [word for word in words if not word.startswith("--")]
    rows = run([fault for fault in faults if not wanted or any(word in fault.name for word in wanted)])
    console = Console(width=140)
    console.print("SIMULATED provider, REFERENCE engine; times compressed: a tick a second, ", end="")
    console.print(
        f"dark after {DARK_AFTER_S:g} s; promised: no token later than {PROMISE_S:g} s after the last tick"
    )
    console.print(table(rows))
    missing = [fault.name for fault in faults if fault.name not in {row.fault for row in rows} and fault.needs_disk]
    for name in missing if not wanted else []:
        console.print(f"not run: {name} (only root can mount a small disk)")
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
