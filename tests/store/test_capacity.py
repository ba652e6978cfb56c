"""Load is exact, of the capacity that held then, and Unknown as soon as one agent's capacity is."""

import json
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select

from store.capacity import implied_nusd, load_of, per_kilosecond
from store.figures import Figures
from store.figures_read import figures
from store.inventory import keep_agent
from store.machines import NO_AGENT, CapacityView, GpuView, capacity_of, dumped_gpus, gpus_of
from store.readings import AgentReading
from store.tables import AgentRow
from store.unknown import Unknown
from store.window import Window
from tests.conftest import START, History


def read(history: History, start_s: float, end_s: float) -> Figures:
    window = Window(START + timedelta(seconds=start_s), START + timedelta(seconds=end_s))
    with history.database.read() as session:
        return figures(session, history.tier, window)


def tick(history: History, completion: int, capacity_per_ks: int | None, **changes: object) -> None:
    reading = AgentReading("h100", history.totals(0, completion, **changes), None, capacity_per_ks=capacity_per_ks)
    history.tick(history.bill(completion), agents={"h100-a": reading})


def test_load_is_tokens_per_second_over_capacity(history: History) -> None:
    assert isinstance(read(history, 0, 60).load, Unknown)
    tick(history, 0, 100_000)
    tick(history, 1_234, 100_000)
    assert read(history, 0, 60).load == Fraction(1_234, 60) / 100


def test_a_past_window_has_the_capacity_of_its_own_time(history: History) -> None:
    tick(history, 0, None)
    tick(history, 600, 50_000)
    tick(history, 1_200, 20_000)
    assert read(history, 0, 60).load == Fraction(10, 50)
    assert read(history, 60, 120).load == Fraction(10, 20)


def test_a_window_without_a_measured_capacity_says_what_to_do(history: History) -> None:
    tick(history, 0, 100_000)
    tick(history, 600, None)
    found = read(history, 0, 60)
    assert found.load == Unknown("the capacity of agent h100-a was not known; mtok agent bench measures it")
    assert not isinstance(found.usage, Unknown)


def test_the_capacities_of_a_tiers_agents_add_up_and_one_unknown_makes_the_sum_so(history: History) -> None:
    def both(second: int | None) -> None:
        first = AgentReading("h100", history.totals(0, 600), None, capacity_per_ks=30_000)
        other = history.totals(0, 300, uuid="ledger-b")
        agents = {"h100-a": first, "h100-b": AgentReading("h100", other, None, capacity_per_ks=second)}
        history.tick(history.bill(1), agents=agents)

    for _ in range(2):
        both(10_000)
    both(None)
    assert read(history, 0, 60).load == Fraction(0)
    usage = read(history, 0, 60).usage
    assert not isinstance(usage, Unknown)
    assert usage.capacity_per_ks == 40_000
    assert "agent h100-b" in str(read(history, 60, 120).load)


def test_a_wiped_ledger_does_not_count_its_agent_twice(history: History) -> None:
    tick(history, 500, 50_000)
    tick(history, 1_100, 50_000)
    tick(history, 300, 50_000, uuid="ledger-b", created_at=START + timedelta(seconds=90))
    assert read(history, 0, 120).load == Fraction(900, 120) / 50


def test_a_tier_that_slept_has_no_load(history: History) -> None:
    tick(history, 100, 50_000)
    for _ in range(2):
        asleep = AgentReading("h100", None, "no answer", asleep=True)
        history.tick(history.bill(200), agents={"h100-a": asleep})
    assert read(history, 0, 60).load == Unknown("no agent answered in this window")


@given(tokens=st.integers(0, 10**12), elapsed_s=st.integers(1, 10**7), capacity=st.integers(1, 10**12))
def test_load_has_no_rounding(tokens: int, elapsed_s: int, capacity: int) -> None:
    found = load_of(tokens, timedelta(seconds=elapsed_s), capacity)
    assert found * elapsed_s * Fraction(capacity, 1000) == tokens


@pytest.mark.parametrize(("said", "kept"), [(1234.567, 1_234_567), (0.001, 1), (0.1, 100), (5e6, 5_000_000_000)])
def test_a_rate_is_kept_in_whole_tokens(said: float, kept: int) -> None:
    assert per_kilosecond(said) == kept


def test_the_published_band_follows_from_its_rate_and_pace() -> None:
    assert implied_nusd(2_000_000_000, 794_000) == 699_692_135  # $0.70 per Mtok at 794 tokens/s for $2.00 an hour
    assert implied_nusd(2_000_000_000, 1_852_000) == 299_976_002


def row(name: str, **changes: Any) -> AgentRow:
    return AgentRow(agent=name, tier="h100", **changes)


def test_a_tiers_capacity_is_known_with_all_of_its_agents() -> None:
    known = row("a", capacity_per_ks=2_500, capacity_about="batch 8")
    assert capacity_of([]) == NO_AGENT
    assert capacity_of([known]) == CapacityView(2_500, {"a": "batch 8"})
    assert CapacityView(2_500, {}).tokens_per_s == Fraction(5, 2)
    assert capacity_of([known, row("b", capacity_about="not measured: x")]) == Unknown("agent b: not measured: x")
    assert capacity_of([row("b")]) == Unknown("agent b: not measured: run mtok agent bench")


def test_gpus_go_through_the_store_as_they_were_told(history: History) -> None:
    gpus = [GpuView("x", 0, "H100 =1+1", "570", 97, 2**40, None, 312_450, 64), GpuView("x", 1, "H100", "570")]
    why = Unknown("no GPU figures: libnvidia-ml.so.1 not found")
    with history.database.write() as session:
        keep_agent(session, row("a", gpu=dumped_gpus(gpus)))
        keep_agent(session, row("b", gpu=dumped_gpus(why)))
        keep_agent(session, row("c", gpu=dumped_gpus(gpus), problem="no answer"))
        keep_agent(session, row("d"))
    with history.database.read() as session:
        found, without = gpus_of(session.exec(select(AgentRow)).all())
    assert [(gpu.agent, gpu.index, gpu.name, gpu.power_mw) for gpu in found] == [
        ("a", 0, "H100 =1+1", 312_450),
        ("a", 1, "H100", None),
    ]
    assert without == {"b": why.reason}
    assert json.loads(dumped_gpus(why)) == why.reason
