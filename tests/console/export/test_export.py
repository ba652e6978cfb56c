"""What other programs read: exact, complete, and the terms add up to the figure."""

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from console.export.csv import COLUMNS, defused, fleet_rows, write_table
from console.export.explain import explain_body
from console.export.files import ExportFailed
from console.export.gate import gate_body, gate_text
from console.export.status import status_body
from console.export.text import explanation_text, status_text
from store.fleet_reader import FleetReader
from store.fleet_view import Fleet, TierSpec
from store.gate import GatePolicy
from store.inventory import keep_agent, keep_resources
from store.machines import GpuView, dumped_gpus
from store.printable import printable
from store.readings import AgentReading
from store.tables import AgentRow, ResourceRow
from store.unknown import Unknown
from store.verdicts import overspend_terms, verdict_now
from store.window import WINDOWS, Window
from store.words import Market
from tests.conftest import START, History

SPEC = TierSpec("h100", "cloud", "H100 PCIe", Market.SPOT, is_simulated=True)
POLICY = GatePolicy(200 * 10**9, ZoneInfo("UTC"), timedelta(seconds=170))


GPU = GpuView("h100-a", 0, "H100", "570", 97, 2**36, None, 312_450, 64)
RESOURCE = ResourceRow(
    provider="cloud",
    kind="instance",
    resource_id="8429",
    tier="h100",
    name="h100-a",
    state="running",
    raw_state="ACTIVE",
    rate_nusd_per_hour=2 * 10**9,
    seen_at=START,
)


def tick_measured(served: History) -> None:
    """A tick at which the agent knows its capacity: 20 tokens/s."""
    reading = AgentReading("h100", served.totals(21_000, 41_600), None, capacity_per_ks=20_000)
    bills = served.bill(5_100_000_000), served.bill(1_234, counter="usage:volume:1", resource_id="1")
    served.tick(*bills, agents={"h100-a": reading})


@pytest.fixture
def served(history: History) -> History:
    """Three ticks: an idle minute, then a busy one, with a counter born in between."""
    born = {"counter": "usage:volume:1", "resource_id": "1", "started_at": START + timedelta(seconds=70)}
    history.tick(history.bill(5_000_000_000), totals=history.totals(1_000, 1_000))
    history.tick(history.bill(5_033_333_333), totals=history.totals(1_000, 1_000))
    history.tick(history.bill(5_066_666_666), history.bill(1_234, **born), totals=history.totals(21_000, 41_000))
    return history


def fleet_of(history: History) -> Fleet:
    return FleetReader(history.database, [SPEC], POLICY, timedelta(seconds=60)).read(history.clock.now())


def explained(history: History) -> dict[str, Any]:
    window = Window(START, history.clock.now())
    with history.database.read() as session:
        return json.loads(json.dumps(explain_body(session, SPEC, window)))  # type: ignore[no-any-return]


def test_status_gives_each_figure_as_a_value_or_a_reason(served: History) -> None:
    body = status_body(fleet_of(served))
    assert body["simulated"] is True
    assert body["gate"]["state"] == "open"
    tier = body["tiers"][0]
    assert (tier["tier"], tier["market"]) == ("h100", "spot")
    hour = tier["windows"]["1h"]
    assert hour["spend_usd"] == "0.066667900"
    assert hour["completion_tokens"] == 40_000
    assert hour["usd_per_mtok_output"] == "1.666697500"
    assert tier["rate_usd_per_hour"] == {"unknown": "the provider quotes no rate"}


def test_status_of_an_empty_store_is_unknown_and_closed(history: History) -> None:
    body = status_body(fleet_of(history))
    assert body["gate"]["reasons"] == ["unobserved"]
    assert body["billing"]["last_complete_tick"] is None
    assert "unknown" in body["tiers"][0]["windows"]["5m"]["spend_usd"]
    unknown = {"unknown": "no complete billing tick yet"}
    assert body["gate"]["spend_today_usd"] == body["gate"]["upper_bound_usd"] == unknown
    assert "spend today — (no complete billing tick yet) of $200.00" in status_text(fleet_of(history))


def test_the_gate_of_an_empty_store_shows_no_zeros(history: History) -> None:
    with history.database.read() as session:
        now = history.clock.now()
        body = gate_body(POLICY, verdict_now(session, POLICY, now), overspend_terms(session, POLICY, now))
    unknown = {"unknown": "no complete billing tick yet"}
    fleet = body["fleet"]
    assert [fleet[f"{name}_usd"] for name in ("debits", "headroom", "bound")] == [unknown] * 3
    assert body["overspend_bound"]["usd"] == unknown
    assert gate_text(body).count("— (no complete billing tick yet)") == 4
    assert " 0.000000000" not in gate_text(body)


def test_the_terms_of_an_explanation_add_up_to_the_figure(served: History) -> None:
    body = explained(served)
    terms = body["spend"]["terms"]
    by_hand = sum(Decimal(term["end"]["raw"]) - Decimal(term["start"]["raw"]) for term in terms)
    assert by_hand == Decimal(body["figures"]["spend_usd"])
    assert sum(term["end"]["nusd"] - term["start"]["nusd"] for term in terms) == body["spend"]["nusd"]
    assert terms[1]["start"]["why"] == "the counter began inside the window"
    rows = body["usage"]["terms"]
    tokens = sum(row["end"]["completion_tokens"] - row["start"]["completion_tokens"] for row in rows)
    assert tokens == body["figures"]["completion_tokens"]
    assert "usage:vm:8429" in explanation_text(body)


def test_an_explanation_of_the_unknown_says_why(history: History) -> None:
    body = explained(history)
    assert "no complete tick yet" in body["spend"]["unknown"]
    assert "no complete tick yet" in explanation_text(body)


def fleet_csv(fleet: Fleet) -> list[dict[str, str]]:
    rows = fleet_rows(fleet, [tier.spec.name for tier in fleet.tiers])
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def test_capacity_load_and_gpus_are_in_the_status(served: History) -> None:
    tick_measured(served)
    with served.database.write() as session:
        keep_agent(session, AgentRow(agent="h100-a", tier="h100", capacity_per_ks=20_000, gpu=dumped_gpus([GPU])))
        keep_resources(session, "cloud", [RESOURCE], START, complete=True)
    fleet = fleet_of(served)
    tier = status_body(fleet)["tiers"][0]
    assert tier["capacity_tokens_per_s"] == "20.000"
    assert tier["usd_per_mtok_implied_at_capacity"] == "27.777777778"  # $2.00 / 3600 s / 20 tokens/s
    assert tier["gpus"][0]["power_mw"] == 312_450
    assert tier["windows"]["1h"]["load"] == "11.2778"  # 40,600 tokens in 180 s: more than its benchmark had found
    assert fleet_csv(fleet)[1]["load"] == "11.2778"
    text = status_text(fleet)
    assert "h100: capacity 20 tok/s; $27.7778 per Mtok output at full load, implied by the quoted rate" in text
    assert "h100-a: GPU 0 H100: 97%, 64.0 of — GiB, 312 W, 64 °C" in text
    assert "1128%" in text


def test_a_capacity_that_is_not_known_says_why(served: History) -> None:
    with served.database.write() as session:
        row = AgentRow(agent="h100-a", tier="h100", capacity_about="not measured", gpu=dumped_gpus(Unknown("none")))
        keep_agent(session, row)
    fleet = fleet_of(served)
    tier = status_body(fleet)["tiers"][0]
    assert tier["capacity_tokens_per_s"] == {"unknown": "agent h100-a: not measured"}
    assert tier["no_gpu_figures"] == {"h100-a": "none"}
    assert "mtok agent bench" in tier["windows"]["1h"]["load"]["unknown"]
    assert tier["usd_per_mtok_implied_at_capacity"] == tier["capacity_tokens_per_s"]
    assert "h100: capacity — (agent h100-a: not measured)" in status_text(fleet)
    assert "h100-a: none" in status_text(fleet)


def test_an_explanation_has_the_terms_of_the_load(served: History) -> None:
    tick_measured(served)
    body = explained(served)
    assert body["usage"]["capacity_tokens_per_s"] == "20.000"
    assert "capacity_tokens_per_s" in body["formula"]["load"]
    assert f"load {body['figures']['load']}" in explanation_text(body)


def test_csv_is_a_row_a_tier_and_window(served: History) -> None:
    rows = fleet_csv(fleet_of(served))
    assert tuple(rows[0]) == COLUMNS
    assert [row["window"] for row in rows] == list(WINDOWS)
    assert rows[1]["spend"] == "0.066667900"
    assert rows[1]["start"] == "2026-11-24T08:00:00Z"
    assert rows[1]["since"] == "true"


def test_csv_says_why_a_cell_is_empty(history: History) -> None:
    rows = fleet_csv(fleet_of(history))
    assert rows[0]["spend"] == ""
    assert "no complete tick yet" in rows[0]["unknown"]


def test_a_csv_file_is_written_whole_and_for_its_owner(served: History, tmp_path: Path) -> None:
    path = tmp_path / "fleet.csv"
    write_table(path, COLUMNS, fleet_rows(fleet_of(served), ["h100"]))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes().count(b"\r\n") == 1 + len(WINDOWS)
    with pytest.raises(ExportFailed, match="choose another place"):
        write_table(tmp_path / "none" / "fleet.csv", COLUMNS, [])


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "@x", "-cmd", "\tx", " =1+1", "\n=1", "\r=1", "＝1+1", "\x1b[31m", "-"]
)
def test_a_formula_is_defused_and_nothing_is_left_for_a_terminal(cell: str) -> None:
    is_formula = cell != "\x1b[31m"
    assert defused(cell) == f"{is_formula * chr(39)}{printable(cell)}"


@pytest.mark.parametrize("cell", ["-0.5", "plain", "", "12"])
def test_plain_cells_stay(cell: str) -> None:
    assert defused(cell) == cell


def test_status_text_is_for_a_person(served: History) -> None:
    text = status_text(fleet_of(served))
    assert "gate OPEN" in text
    assert "SIMULATED PROVIDER" in text
    assert "$1.6667" in text
