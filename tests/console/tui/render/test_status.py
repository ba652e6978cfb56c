"""The first line of every screen: the marks stand whole, whoever looks and however narrow it is."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from rich.cells import cell_len

from console.tui.cells import Row, text_of
from console.tui.keys import PAGES
from console.tui.render.status import banners, gate_rows, header
from console.tui.view import View
from store.fleet_view import Fleet, TierSpec, TierView
from store.gate import GateFacts, Reason, ScopeFacts, ScopeVerdict, Verdict
from store.unknown import NOT_RECORDED
from store.words import Market

AT = datetime(2026, 11, 20, 3, 10, tzinfo=UTC)
FACTS = GateFacts(AT, AT, None, 1, ScopeFacts())
VERDICT = Verdict(True, (), FACTS, ScopeVerdict((), ScopeFacts(), 1, is_below=True))
TIER = TierView(
    spec=TierSpec("h100", "cloud", "H100", Market.SPOT, is_simulated=True),
    state="serving",
    seen="",
    rate_nusd_per_hour=NOT_RECORDED,
    figures={},
    trend=(),
    in_flight=NOT_RECORDED,
    engine="",
    problem=None,
    operation=None,
    sleep=None,
    refusals={},
)
REAL = Fleet(AT, AT, AT, (), VERDICT, None, (), None)
SIMULATED = Fleet(AT, AT, AT, (TIER,), VERDICT, None, (), None)
ACTORS = ("root", "ubuntu@203.0.113.254", "ubuntu@2001:db8:85a3:8d3:1319:8a2e:370:7348", "當值" * 40)


@pytest.mark.parametrize("width", [60, 61, 72, 80, 120, 200])
@pytest.mark.parametrize("actor", ACTORS)
def test_every_mark_stands_whole_whoever_looks(actor: str, width: int) -> None:
    yes_or_no, fleets = (False, True), (None, REAL, SIMULATED)
    for name, fleet, at, is_read_only, is_paused in product(PAGES, fleets, (None, AT), yes_or_no, yes_or_no):
        view = View(actor, is_read_only=is_read_only, at=at, is_paused=is_paused, fleet=fleet)
        text = header(view, name, width)
        assert cell_len(text) == width
        words = text.split()
        for mark, holds in (
            ("REPLAY", at is not None),
            ("SIMULATED", fleet is SIMULATED),
            ("READ-ONLY", is_read_only),
            ("PAUSED", is_paused),
        ):
            assert (mark in words) is holds, text
        assert at is None or "2026-11-20 03:10:00" in text
        assert at is not None or fleet is None or "03:10:00" in text


@pytest.mark.parametrize(
    ("width", "words"),
    [
        (100, "mtok FLEET REPLAY SIMULATED PROVIDER READ-ONLY ada@192.0.2.7 2026-11-20 03:10:00 UTC"),
        (90, "mtok FLEET REPLAY SIMULATED READ-ONLY ada@192.0.2.7 2026-11-20 03:10:00 UTC"),
        (81, "mtok FLEET REPLAY SIMULATED READ-ONLY ada@1….0.2.7 2026-11-20 03:10:00 UTC"),
        (68, "mtok FLEET REPLAY SIMULATED READ-ONLY 2026-11-20 03:10:00 UTC"),
        (63, "mtok REPLAY SIMULATED READ-ONLY 2026-11-20 03:10:00 UTC"),
        (60, "mtok REPLAY SIMULATED READ-ONLY 2026-11-20 03:10:00"),
        (40, "REPLAY SIMULATED READ-ONLY"),
    ],
)
def test_who_looks_gives_way_then_the_screen_then_the_words_around_the_instant(width: int, words: str) -> None:
    view = View("ada@192.0.2.7", is_read_only=True, at=AT, fleet=SIMULATED)
    assert " ".join(header(view, "Fleet", width).split()) == words


def test_of_a_long_name_and_address_the_ends_are_left() -> None:
    text = header(View("ubuntu@2001:db8:85a3:8d3:1319:8a2e:370:7348", at=AT), "Fleet", 80)
    assert text == " mtok FLEET  REPLAY  ubuntu@2001:db8:…19:8a2e:370:7348  2026-11-20 03:10:00 UTC "


def told(rows: Sequence[Row]) -> str:
    return "\n".join(map(text_of, rows))


def test_ages_grow_while_the_store_does_not_answer() -> None:
    view = View("ada", latest=replace(REAL, at=AT + timedelta(seconds=9)), read_s=100.0)
    assert "last tick 9 s ago, at 03:10:00" in told(banners(view, 140.0, 120))
    view.problem = "no answer"
    assert "figures are 40 s old" in told(banners(view, 140.0, 120))
    assert "last tick 49 s ago, at 03:10:00" in told(banners(view, 140.0, 120))


def test_a_gate_that_closed_on_another_day_says_on_which() -> None:
    closed = replace(VERDICT, is_open=False, reasons=(Reason.MANUAL,))
    fleet = replace(REAL, verdict=closed, closed_since=AT - timedelta(hours=1))
    assert "since 02:10:00: " in told(gate_rows(fleet, 120))
    assert "since 11-19 03:10:00: " in told(gate_rows(replace(fleet, closed_since=AT - timedelta(days=1)), 120))
