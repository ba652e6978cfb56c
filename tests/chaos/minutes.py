"""Billing dark for one minute, then for four, at the real pace: a tick a minute, `dark_after` 170 s.

`python -m tests.chaos.minutes` takes ten minutes, prints what came of it, and ends with 1 if that was not promised.
"""

import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.chaos.fleet import Fleet, Look, running_fleet

TIMES = {
    "every": "60s",
    "dark_after": "170s",
    "bills_within": "20s",
    "usage_within": "10s",
    "lease_within": "5s",
    "leader_expires_after": "25s",
}
TICK_S, DARK_AFTER_S = 60.0, 170.0


def outage(fleet: Fleet, lasts_s: float) -> tuple[list[Look], datetime]:
    """Let billing be dark for so long; answers what was seen meanwhile, and when it was healed."""
    began_at = datetime.now(UTC)
    fleet.fault("500")
    time.sleep(lasts_s)
    fleet.fault(None)
    return [look for look in fleet.looks if look.at >= began_at], datetime.now(UTC)


def main() -> int:
    """One minute, then four."""
    with (
        tempfile.TemporaryDirectory(prefix="mtok-chaos-") as folder,
        running_fleet(Path(folder) / "demo", TIMES) as fleet,
    ):
        fleet.wait_until_open(within_s=3 * TICK_S)
        short, healed_at = outage(fleet, 60)
        stayed = all(all(look.is_open.values()) for look in short)
        print(f"dark for one minute: service {'went on' if stayed else 'STOPPED'}", flush=True)
        _wait_for_ticks(fleet, healed_at, 2)
        long, healed_at = outage(fleet, 240)
        last = next(look for look in reversed(long) if set(look.is_open) == set(fleet.agents))
        stopped = not any(last.is_open.values())
        open_at = max((look.at for look in long if any(look.is_open.values())), default=long[0].at)
        last_at = fleet.last_complete_at() or open_at
        print(
            f"dark for four minutes: service {'stopped' if stopped else 'WENT ON'}, "
            f"{(open_at - last_at).total_seconds():.0f} s after the last complete tick",
            flush=True,
        )
        fleet.wait_until_open(within_s=4 * TICK_S)
        back_at = datetime.now(UTC)
        ticks = fleet.complete_ticks_since(healed_at)
        back_s = (back_at - healed_at).total_seconds()
        print(f"healed: service is back after {back_s:.0f} s and {ticks} complete ticks", flush=True)
        in_time = open_at - last_at <= timedelta(seconds=DARK_AFTER_S + 5)
        return 0 if stayed and stopped and in_time and ticks <= 2 else 1


def _wait_for_ticks(fleet: Fleet, since: datetime, count: int) -> None:
    end = time.monotonic() + 5 * TICK_S
    while fleet.complete_ticks_since(since) < count and time.monotonic() < end:
        time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
