"""Names and texts of a provider's become settings, whatever letters are in them."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.providers.protocol import Ref, Resource
from console.settings import load_settings
from console.setup.account import Found
from console.setup.proposal import left_out, propose, tier_name
from console.setup.text import Plan, quoted, settings_text
from store.words import ResourceKind, State

NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=50), max_size=5)


def found(names: list[str], states: list[State]) -> Found:
    instances = tuple(
        Resource(Ref(ResourceKind.INSTANCE, f"id {name}"), name, state, f"IN {name}")
        for name, state in zip(dict.fromkeys(names), states, strict=False)
    )
    volume = Resource(Ref(ResourceKind.VOLUME, '"]'), names[0] if names else "", State.RUNNING, "")
    return Found(instances, (volume,), {}, 0, frozenset())


@given(NAMES, st.lists(st.sampled_from(State), min_size=5, max_size=5))
def test_whatever_an_account_is_called_the_settings_load(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], states: list[State]
) -> None:
    account = found(names, states)
    tiers = propose(account)
    plan = Plan("cloud", "simulator", "SIMULATED", "1", "UTC", tiers, left_out(account, tiers), key_env="K")
    path = tmp_path_factory.getbasetemp() / "mtok.toml"
    path.write_text(settings_text(plan), encoding="utf-8")
    settings = load_settings(path)
    assert [(tier.name, tier.instances) for tier in settings.tiers] == [(t.name, (t.instance,)) for t in tiers]
    assert len(account.instances) + 1 == len(tiers) + len(plan.left)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_quoted_text_reads_back_as_it_was_and_shows_no_control(text: str) -> None:
    assert tomllib.loads(f"x = {quoted(text)}") == {"x": text}
    assert quoted(text).isprintable()


@pytest.mark.parametrize(
    ("given_", "taken", "name"),
    [
        ("H100 Nightly (EU)", set(), "h100-nightly-eu"),
        ("Überfluß", set(), "uberflu"),
        ("", set(), "tier-77"),
        ("unassigned", set(), "tier-unassigned"),
        ("a", {"a", "a-2"}, "a-3"),
        ("x" * 40, {"x" * 31}, f"{'x' * 29}-2"),
        ("--", set(), "tier-77"),
    ],
)
def test_a_name_is_derived_safely(given_: str, taken: set[str], name: str) -> None:
    assert tier_name(given_, "77", taken) == name


def test_an_instance_that_stands_still_is_left_out_and_said(tmp_path: Path) -> None:
    account = found(["a", "b"], [State.HALTED_BILLED, State.ASLEEP])
    assert [tier.name for tier in propose(account)] == ["b"]
    assert [one.name for one in left_out(account, propose(account))] == ["a", "a"]
