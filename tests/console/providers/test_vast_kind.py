"""Vast.ai in the registry: its settings, and what they may not say."""

from datetime import date
from pathlib import Path

import pytest
from pydantic import ValidationError

from console.providers.conformance import check_kind
from console.providers.registry import Opening, kind_names, provider_kind
from console.providers.vast_kind import VastOptions
from console.settings import load_settings
from store.clock import SetClock
from store.errors import SettingsError
from tests.console.providers.vast_account import NOW

SETTINGS = """
tiers = []
[budget]
daily_usd = "10"
[providers.cloud]
kind = "vast"
api_key_env = "KEY"
charges_since = {since}
"""


def opening(options: VastOptions) -> Opening:
    return Opening("cloud", "key", "http://127.0.0.1:1", options, SetClock(NOW), Path())


def test_both_kinds_are_registered_and_only_the_real_one_doubts_bounds_inside_a_day() -> None:
    assert {"vast", "vast-simulator"} <= set(kind_names())
    real, simulated = provider_kind("vast"), provider_kind("vast-simulator")
    assert (real.options().model_dump()["windows"], simulated.options().model_dump()["windows"]) == (
        "day",
        "second",
    )
    assert (real.is_simulated, simulated.is_simulated, simulated.base_url) == (False, True, "")


async def test_it_keeps_every_promise_of_the_protocol() -> None:
    assert not [one for one in await check_kind(provider_kind("vast-simulator")) if one.problem]


@pytest.mark.parametrize("since", ['"2026-01-01"', "2026-01-01"])
def test_the_day_from_which_charges_count_is_a_setting(tmp_path: Path, since: str) -> None:
    (tmp_path / "mtok.toml").write_text(SETTINGS.format(since=since), encoding="utf-8")
    section = load_settings(tmp_path / "mtok.toml").providers["cloud"]
    assert section.options == VastOptions(charges_since=date(2026, 1, 1))
    assert section.address == "https://console.vast.ai"


@pytest.mark.parametrize("wrong", ['"yesterday"', "1\nwindow = 2", "2026-01-01\nwindows = 'minute'"])
def test_a_wrong_setting_is_refused(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "mtok.toml").write_text(SETTINGS.format(since=wrong), encoding="utf-8")
    with pytest.raises(SettingsError, match="providers"):
        load_settings(tmp_path / "mtok.toml")


def test_a_start_in_the_future_is_refused_as_it_would_make_every_bill_zero() -> None:
    with pytest.raises(SettingsError, match="lies in the future"):
        provider_kind("vast").open(opening(VastOptions(charges_since=date(2026, 11, 25))))
    provider_kind("vast").open(opening(VastOptions(charges_since=date(2026, 11, 24))))


def test_options_stand_still() -> None:
    with pytest.raises(ValidationError):
        VastOptions().windows = "second"  # type: ignore[misc]
