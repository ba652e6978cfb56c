"""Pictures of the app, compared with those kept under the test's name: several from one run of it."""

import asyncio
import re
from collections import defaultdict
from html import unescape
from itertools import zip_longest

import pytest
from pytest_textual_snapshot import SVGImageExtension
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot

from console.tui.app import MtokApp
from console.tui.keys import PAGES
from tests.console.tui.screen import shown, until

_TEXT = re.compile(r'<text class="[^"]*" x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)</text>')
_CELL_WIDTH = 12.2  # of Rich's SVG
_CLIPS = re.compile(
    r'<clipPath id="[^"]*-line-\d+">\s*<rect[^>]*/>\s*</clipPath>\s*| clip-path="url\(#[^"]*-line-\d+\)"'
)
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_SETTLES_WITHIN = 30  # readings
_AT_REST = 2  # of them change nothing: a chart is drawn again once its place has been measured


class Pictures:
    """What differs is told at the end, all of it: one change of a line is seen on every picture at once."""

    def __init__(self, snapshot: SnapshotAssertion) -> None:
        self._kept = snapshot.use_extension(SVGImageExtension)
        self._differ: list[str] = []

    def compare(self, name: str, svg: str) -> None:
        """Hold a picture against the one that is kept; `--snapshot-update` keeps this one instead."""
        if self._kept(name=name) == svg:
            return
        result = list(self._kept.executions.values())[-1]
        kept = result.recalled_data
        why = "there is none yet" if kept is None else _first_difference(str(kept), svg)
        self._differ.append(f"{result.snapshot_name}: {why}")

    def assert_as_kept(self) -> None:
        """Fail with every picture that is not as it was."""
        if self._differ:
            what = "\n".join(self._differ)
            pytest.fail(f"{what}\nlook at what has changed; to keep it: pytest --snapshot-update", pytrace=False)


async def settled(pilot: Pilot[None]) -> str:
    """What the app shows, as SVG, once a few readings of the store in a row show the same."""
    app, before, same = pilot.app, "", 0
    assert isinstance(app, MtokApp)
    for _ in range(_SETTLES_WITHIN):
        await read_again(pilot)
        now = shown(app)
        same = same + 1 if now == before else 0
        if same == _AT_REST:
            return _lean(app.export_screenshot(simplify=True))
        before = now
    pytest.fail(f"the screen does not come to rest:\n{before}")


async def read_again(pilot: Pilot[None]) -> None:
    """Have the store read once more, and what it says shown."""
    app = pilot.app
    assert isinstance(app, MtokApp)
    await _answered(app)
    app.read(is_wanted=True)
    await _answered(app)
    await pilot.pause(0)


async def go_to(pilot: Pilot[None], page: str) -> None:
    """Press the key of a numbered screen."""
    app = pilot.app
    assert isinstance(app, MtokApp)
    await pilot.press(str(PAGES.index(page) + 1))
    if page != app.page.NAME:
        await until(pilot, lambda: page == app.page.NAME)


async def go_to_end(pilot: Pilot[None]) -> None:
    """Scroll down as far as there is something."""
    await settled(pilot)  # there is nothing before
    pane = pilot.app.screen.query_one("#pane")
    await pilot.press("end")
    await until(pilot, lambda: 0 < pane.max_scroll_y == pane.scroll_offset.y)


async def compare_pages(pilot: Pilot[None], pictures: Pictures, pages: tuple[str, ...] = PAGES) -> None:
    """Each of these screens, by its key."""
    for page in pages:
        await go_to(pilot, page)
        pictures.compare(page.lower(), await settled(pilot))


async def _answered(app: MtokApp) -> None:
    """The store has answered, or said why not, and that is shown."""
    for _ in range(3_000):
        if app._reading_since_s is None:
            return
        await asyncio.sleep(0.003)
    pytest.fail("the store does not answer")


def _lean(svg: str) -> str:
    """Without the frame around each line of text and the address of a font: two fifths of its length."""
    return _FONTS.sub("", _CLIPS.sub("", svg))


def _first_difference(kept: str, now: str) -> str:
    for n, (before, after) in enumerate(zip_longest(_words(kept), _words(now), fillvalue=""), 1):
        if before != after:
            return f"line {n}\n  was {before!r}\n  is  {after!r}"
    return "the same words in other colours"


def _words(svg: str) -> list[str]:
    """The lines of a picture, without its colours."""
    rows: dict[float, list[tuple[int, str]]] = defaultdict(list)
    for x, y, text in _TEXT.findall(svg):
        rows[float(y)].append((round(float(x) / _CELL_WIDTH), unescape(text).replace("\xa0", " ")))
    lines = []
    for _, pieces in sorted(rows.items()):
        line = ""
        for x, text in sorted(pieces):
            line = line.ljust(x) + text
        lines.append(line.rstrip())
    return lines
