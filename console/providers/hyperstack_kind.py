"""Hyperstack as a kind of provider, and our own simulator that speaks its wire format."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from console.providers.registry import Facts, Opening, Options, ProviderKind, SimulatorSpec
from console.setting_types import Currency
from store.clock import SetClock
from store.money import USD

if TYPE_CHECKING:
    from console.providers.protocol import Provider
    from console.providers.trial import Trial


class HyperstackOptions(Options):
    """No payload names a currency: it is assumed."""

    currency: Currency = USD


def _open(opening: Opening) -> "Provider":
    from console.providers.hyperstack import Hyperstack

    assert isinstance(opening.options, HyperstackOptions)
    currency = opening.options.currency
    return Hyperstack(opening.name, opening.key, opening.base_url, clock=opening.clock, currency=currency)


@contextmanager
def _trial(clock: SetClock) -> Iterator["Trial"]:
    from console.providers.simulator_trial import trial

    with trial(clock) as running:
        yield running


KIND = ProviderKind(
    kind="hyperstack",
    title="Hyperstack",
    base_url="https://infrahub-api.nexgencloud.com/v1",
    facts=Facts(
        bill="lifetime",
        step=None,
        steps_are="not stated; within a minute in captures, fields of one row up to 4 min apart",
        asleep_bills="root disk, attached public address, volumes; SHUTOFF is billed in full",
        sleep_loses="ephemeral disk, GPU reservation",
        bills_volumes=True,
        can_backfill=True,
        currency="assumed",
        least_poll=timedelta(seconds=1),
        lag=timedelta(minutes=4),
        source="docs.hyperstack.cloud (2026-08-26), OpenAPI document (2026-06-17)",
    ),
    open=_open,
    options=HyperstackOptions,
    simulator=SimulatorSpec("console.providers.simulator", _trial),
)
SIMULATOR = replace(KIND, kind="simulator", title="SIMULATED provider", base_url="", is_simulated=True)
