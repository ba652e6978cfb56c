"""A tier's figures as lines: each names the edges that it has, and both where its end is not the present."""

from dataclasses import replace
from datetime import timedelta

import pytest

from console.tui.cells import Row, text_of
from console.tui.render.tier import detail_rows, figures_line, figures_table
from console.tui.render.tier_page import Room, tier_rows
from store.figures import Figures
from store.fleet_view import TierView
from store.unknown import Unknown
from store.window import Edges
from tests.console.fleet_world import START, fleet_world

NOW = START + timedelta(minutes=9)
PATIENCE = timedelta(minutes=2)
DAY = timedelta(days=1)
FRESH = Edges(START + timedelta(minutes=4), NOW - timedelta(minutes=1), since=False)
LATE = Edges(START + timedelta(minutes=4), START + timedelta(minutes=5), since=False)


@pytest.fixture(scope="module")
def tier(tmp_path_factory: pytest.TempPathFactory) -> TierView:
    world = fleet_world(tmp_path_factory.mktemp("fleet"), minutes=9)
    return world.service.fleet().tiers[0]


def with_edges(tier: TierView, edges: Edges | Unknown) -> Figures:
    return replace(tier.figures["5m"], edges=edges)


def told(rows: list[Row]) -> str:
    return "\n".join(text_of(row) for row in rows)


@pytest.mark.parametrize(
    ("edges", "text"),
    [
        (FRESH, "08:04:00"),
        (replace(FRESH, since=True), "since 08:04"),
        (replace(FRESH, end_at=NOW - PATIENCE), "08:04:00"),
        (LATE, "08:04-08:05"),
        (replace(LATE, since=True), "08:04-08:05"),
        (replace(LATE, start_at=LATE.start_at - DAY), "11-23 08:04-08:05"),
        (replace(LATE, start_at=LATE.start_at - DAY, end_at=LATE.end_at - DAY), "08:04-11-23 08:05"),
        (replace(LATE, start_at=LATE.start_at - 2 * DAY, end_at=LATE.end_at - DAY), "11-22…11-23 08:05"),
        (replace(FRESH, start_at=FRESH.start_at - DAY), "11-23 08:04"),
        (replace(FRESH, start_at=FRESH.start_at - DAY, since=True), "since 11-23"),
    ],
)
def test_a_figure_that_ends_in_the_past_names_both_edges(tier: TierView, edges: Edges, text: str) -> None:
    found = figures_line("5m", with_edges(tier, edges), NOW, PATIENCE)
    assert found.rpartition("  ")[2] == text
    assert len(found) <= 79


def test_a_figure_without_edges_names_none(tier: TierView) -> None:
    assert figures_line("5m", with_edges(tier, Unknown("x")), NOW, PATIENCE).endswith("%  ")


def test_the_column_is_named_by_what_is_in_it(tier: TierView) -> None:
    late = replace(tier, figures={**tier.figures, "5m": with_edges(tier, LATE)})
    assert figures_table(tier, ("5m", "1h"), NOW, PATIENCE)[0].endswith("  FROM")
    assert figures_table(late, ("5m", "1h"), NOW, PATIENCE)[0].endswith("  FROM-TO")
    assert figures_table(late, ("1h",), NOW, PATIENCE)[0].endswith("  FROM")


@pytest.mark.parametrize("width", [79, 119, 200])
def test_both_screens_show_both_edges(tier: TierView, width: int) -> None:
    late = replace(tier, figures={**tier.figures, "5m": with_edges(tier, LATE)})
    for rows in (
        detail_rows(late, NOW, width=width, patience=PATIENCE),
        tier_rows(late, None, "5m", NOW, Room(width, 24), patience=PATIENCE),
    ):
        assert "08:04-08:05" in told(rows)
        assert "FROM-TO" in told(rows)


def test_a_collector_that_reads_seldom_is_waited_for(tier: TierView) -> None:
    assert figures_line("5m", with_edges(tier, LATE), NOW, timedelta(minutes=10)).endswith("  08:04:00")
