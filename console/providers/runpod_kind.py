"""RunPod as a kind of provider, and our own simulator that speaks its wire format."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from console.providers.registry import Facts, Opening, Options, ProviderKind, SimulatorSpec
from console.setting_types import Duration
from store.clock import SetClock

if TYPE_CHECKING:
    from console.providers.protocol import Provider
    from console.providers.trial import Trial


class RunPodOptions(Options):
    """`bill_step`: how often the bills move, where that is not as documented: a simulator's do so more often."""

    bill_step: Duration | None = None


def _open(opening: Opening) -> "Provider":
    from console.providers.runpod import RunPod

    assert isinstance(opening.options, RunPodOptions)
    step = opening.options.bill_step
    return RunPod(opening.name, opening.key, opening.base_url, clock=opening.clock, step=step)


@contextmanager
def _trial(clock: SetClock) -> Iterator["Trial"]:
    from console.providers.runpod_simulator_trial import trial

    with trial(clock) as running:
        yield running


KIND = ProviderKind(
    kind="runpod",
    title="RunPod",
    base_url="https://api.runpod.io",
    facts=Facts(
        bill="bucket",
        step=timedelta(minutes=5),
        steps_are="network volumes move once an hour; nothing finer than an hour is stated for a window",
        asleep_bills="the volume disk at twice its price ($0.20/GB and month), network volumes as ever",
        sleep_loses=(
            "container disk, GPU reservation (starts again only on its own host); without a network volume the "
            "whole pod when the balance reaches $0"
        ),
        bills_volumes=True,
        can_backfill=True,
        currency="stated",
        least_poll=timedelta(seconds=10),
        lag=timedelta(minutes=5),
        source="docs.runpod.io (2026-11-25), OpenAPI document of REST v2 (2026-08-18)",
    ),
    open=_open,
    options=RunPodOptions,
    simulator=SimulatorSpec("console.providers.runpod_simulator", _trial),
)
SIMULATOR = replace(KIND, kind="runpod-simulator", title="SIMULATED RunPod", base_url="", is_simulated=True)
