"""Vast.ai as a kind of provider, and our own simulator that speaks its wire format."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Literal

from console.providers.registry import Facts, Opening, Options, ProviderKind, SimulatorSpec
from store.clock import SetClock
from store.errors import SettingsError

if TYPE_CHECKING:
    from console.providers.protocol import Provider
    from console.providers.trial import Trial


class VastOptions(Options):
    """From which day new counters count, and which bounds of a window of charges the provider honours.

    `charges_since`: an old account with thousands of contracts is read faster from a later day; counters that exist
    keep theirs. `windows = "second"`: someone has measured that bounds inside a day are honoured.
    """

    charges_since: date = date(2018, 1, 1)  # before the provider's first contract
    windows: Literal["day", "second"] = "day"


class SimulatedVastOptions(VastOptions):
    """Our simulator honours every second."""

    windows: Literal["day", "second"] = "second"


def _open(opening: Opening) -> "Provider":
    from console.providers.vast import Vast

    assert isinstance(opening.options, VastOptions)
    since = datetime.combine(opening.options.charges_since, time(0), UTC)
    if since > opening.clock.now():
        where = f"[providers.{opening.name}] charges_since"
        raise SettingsError(
            where, "lies in the future: every bill would be zero until then", "give a day that is over"
        )
    return Vast(
        opening.name,
        opening.key,
        opening.base_url,
        clock=opening.clock,
        since=since,
        windows=opening.options.windows,
    )


@contextmanager
def _trial(clock: SetClock) -> Iterator["Trial"]:
    from console.providers.vast_simulator_trial import trial

    with trial(clock) as running:
        yield running


KIND = ProviderKind(
    kind="vast",
    title="Vast.ai",
    base_url="https://console.vast.ai",
    facts=Facts(
        bill="window",
        step=None,
        steps_are="$0.001 a contract; how fresh the charges are is not stated",
        asleep_bills="disk (at the host's price) and volumes; no GPU",
        sleep_loses="memory, GPU (waking competes for it anew and may wait for ever)",
        bills_volumes=True,
        can_backfill=False,
        currency="assumed",
        least_poll=timedelta(seconds=6),
        quantum_nusd=1_000_000,
        source="docs.vast.ai, OpenAPI document (2026-08-07)",
    ),
    open=_open,
    options=VastOptions,
    simulator=SimulatorSpec("console.providers.vast_simulator", _trial),
)
SIMULATOR = replace(
    KIND,
    kind="vast-simulator",
    title="SIMULATED Vast.ai",
    base_url="",
    is_simulated=True,
    options=SimulatedVastOptions,
    facts=replace(KIND.facts, can_backfill=True),
)
