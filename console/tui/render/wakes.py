"""Wake anatomy as lines: what each phase takes, at the median and at worst, and the last wakes one by one."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from console.tui.cells import Role, Row, line
from console.tui.render.canvas import clipped
from console.tui.render.figures import UNKNOWN, money
from console.tui.render.flow import flowed, sentences
from console.tui.render.lists import day_time
from store.anatomy import Anatomy, spread, whole
from store.phases import Phase
from store.unknown import Unknown

_MOST_BAR = 24


def wake_rows(wakes: Sequence[Anatomy], width: int) -> list[Row]:
    """The wakes that have ended, newest first; the one under way stands elsewhere."""
    ended = [wake for wake in wakes if wake.finished_at is not None]
    if not ended:
        return [line(" WAKES", Role.HEADING), line(" none has ended yet", Role.MUTED)]
    times = whole(ended)
    told = [f"median {took(times[0])}", f"worst {took(times[1])}"] if times else ["none was done"]
    rows = flowed([f"WAKES ({len(ended)})", *told], width, 1, Role.HEADING)
    rows += _phases(spread(ended), width)
    for wake in ended:
        rows += flowed(_heads(wake), width, 1, Role.PLAIN if wake.outcome == "done" else Role.WARN)
        rows += sentences([wake.detail] if wake.detail else [], width, Role.MUTED, " ")
        rows += flowed([f"{one.phase} +{took(one.took)}" for one in wake.reached[1:]], width, 3, Role.MUTED)
    return rows


def _phases(times: Mapping[Phase, tuple[timedelta, timedelta]], width: int) -> list[Row]:
    """A bar a phase, as long as its median is of them all."""
    longest = max((middle for middle, _ in times.values()), default=timedelta(0))
    room = min(max(width - 39, 4), _MOST_BAR)
    rows = []
    for phase, (middle, worst) in times.items():
        if phase is not Phase.REQUESTED:
            bar = "█" * (max(int(middle / longest * room), 1) if longest else 1)
            rows.append(clipped(line(f" {phase:<12}{took(middle):>8}  worst {took(worst):>8}  {bar}"), width))
    return rows


def _heads(wake: Anatomy) -> list[str]:
    cost = wake.cost
    return [
        day_time(wake.requested_at),
        f"{wake.outcome} in {took(wake.took)}" if wake.took is not None else str(wake.outcome),
        f"cost {UNKNOWN if isinstance(cost, Unknown) else money(cost.nusd, cost.currency)}",
        f"by {wake.actor}",
        wake.reason,
    ]


def took(time: timedelta) -> str:
    """A time that a phase took: `4.2 s`, `6:05 min`."""
    seconds = time.total_seconds()
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02} min"
