"""`make screenshots`: every screen and dialog, dark and light, at both sizes, as SVG and PNG into screenshots/.

The running demo is photographed; screens that need hours, or a spent budget, on made-up ones. All show SIMULATED
PROVIDER.
"""

import asyncio
import html
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len
from textual.pilot import Pilot

from console.demo.world import World
from console.service import Service
from console.settings import load_settings
from console.tui.app import MtokApp
from console.tui.look import Look
from console.tui.view import View
from store.clock import SystemClock
from store.database import open_database
from store.logs import silence_logs
from store.process import this_process
from store.tables import Leadership
from tests.console.day_world import day_world
from tests.console.fleet_world import fleet_world

FOLDER = Path(__file__).parents[1] / "screenshots"
SIZES = ((120, 40), (80, 24))
THEMES = ("dark", "light")
_FONT = "Fira Code"  # the one that Textual's SVG names
_TEXT = re.compile(
    r'<text(?P<before>[^>]*?) x="(?P<x>[\d.]+)"(?P<between>[^>]*?) textLength="(?P<length>[\d.]+)"[^>]*>'
    r"(?P<glyphs>[^<]*)</text>"
)
_MOVES_AFTER_S = 40  # long enough for figures and a trend to have moved
_MINUTES = 26 * 60


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture: its name, the keys that lead there, and keys that lead back."""

    name: str
    keys: tuple[str, ...]
    back: tuple[str, ...] = ("1",)


DEMO = (
    Shot("fleet", ()),
    Shot("tier", ("2",)),
    Shot("gate", ("4",)),
    Shot("billing", ("5",)),
    Shot("journal", ("6",)),
    Shot("help", ("7",)),
    Shot("filter", ("slash", "exclamation_mark", "l", "4", "0", "enter"), ("escape",)),
    Shot("hibernate", ("h",), ("escape",)),
    Shot("close-gate", ("c",), ("escape",)),
    Shot("commands", ("colon",), ("escape",)),
)
DAY = (
    Shot("fleet-day", ()),
    Shot("tier-day", ("right_square_bracket", "right_square_bracket", "2"), ("1",)),
    Shot("band", ("3",)),
    Shot("gate-day", ("4",)),
    Shot("billing-day", ("5",)),
    Shot("wake", ("j", "w"), ("escape", "k")),
)
SPENT = (
    Shot("gate-spent", ("4",)),
    Shot("reset", ("r",), ("escape",)),
    Shot("open-gate", ("o",), ("escape",)),
    Shot("quit", ("q",), ("escape",)),
)
NAMES = tuple(shot.name for shot in (*DEMO, *DAY, *SPENT))


def photograph(app: MtokApp, name: str) -> None:
    """Write what the app shows as `name`.svg and `name`.png."""
    svg = app.export_screenshot(title="mtok")
    (FOLDER / f"{name}.svg").write_text(svg, encoding="utf-8")
    draw(svg, FOLDER / f"{name}.png")


def draw(svg: str, path: Path) -> None:
    """The picture as PNG, each glyph in its cell: the converter knows neither `textLength` nor leading spaces."""
    import cairosvg  # half a second that only a picture pays

    placed = _TEXT.sub(_in_cells, svg)
    cairosvg.svg2png(bytestring=placed.encode(), write_to=str(path), scale=1.0)  # whole pixels a cell


def _in_cells(text: re.Match[str]) -> str:
    glyphs = html.unescape(text["glyphs"])
    width, places = float(text["length"]) / max(cell_len(glyphs), 1), [float(text["x"])]
    for glyph in glyphs[:-1]:
        places.append(places[-1] + width * cell_len(glyph))
    cells = " ".join(f"{place:.1f}" for place in places)
    return f'<text xml:space="preserve"{text["before"]} x="{cells}"{text["between"]}>{text["glyphs"]}</text>'


async def photograph_all(service: Service, folder: Path, shots: Iterable[Shot]) -> None:
    """Each of them, in each theme, at each size."""
    for theme in THEMES:
        for width, height in SIZES:
            app = MtokApp(service, View("ada@192.0.2.7", note="? for help"), folder, Look(theme=theme))
            async with app.run_test(size=(width, height)) as pilot:
                await pilot.pause(2.5)
                for shot in shots:
                    await _go(pilot, shot.keys, 1.6)
                    photograph(app, f"{shot.name}-{theme}-{width}x{height}")
                    await _go(pilot, shot.back, 0.5)


async def _go(pilot: Pilot[None], keys: Iterable[str], rest_s: float) -> None:
    for key in keys:
        await pilot.press(key)
        await pilot.pause(0.3)
    await pilot.pause(rest_s)


def photograph_day() -> None:
    """The screens that need hours."""
    with tempfile.TemporaryDirectory() as folder:
        world = day_world(Path(folder))
        world.live(_MINUTES)
        world.clock.advance(-58)
        asyncio.run(photograph_all(world.service, Path(folder), DAY))
        world.database.close()


def photograph_spent() -> None:
    """A limit that is spent, a gate that is closed by hand besides, and the console that leads."""
    with tempfile.TemporaryDirectory() as folder:
        world = fleet_world(Path(folder), limit="1.20", minutes=20)
        world.clock.advance(-58)
        with world.database.write() as session:
            session.get_one(Leadership, 1).owner = f"{this_process()}:1"
        world.service.close_gate("a loop in the canary, looked at")
        asyncio.run(photograph_all(world.service, Path(folder), SPENT))
        world.database.close()


def photograph_demo() -> None:
    """The demo as it runs."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder) / "demo")
        world.start()
        try:
            settings = load_settings(world.settings)
            database = open_database(settings.store_url)
            asyncio.run(asyncio.sleep(_MOVES_AFTER_S))
            asyncio.run(photograph_all(Service(database, settings, SystemClock(), actor="ada"), world.state, DEMO))
            database.close()
        finally:
            world.stop()


def main() -> None:
    """All pictures; those of screens that no longer exist go."""
    fonts = subprocess.run(["fc-list", ":", "family"], capture_output=True, text=True, check=False).stdout
    if _FONT not in fonts:  # in another one columns do not stand under each other
        sys.exit(f"not run: the font {_FONT} is not here (Debian: fonts-firacode)")
    FOLDER.mkdir(exist_ok=True)
    for old in (*FOLDER.glob("*.svg"), *FOLDER.glob("*.png")):
        old.unlink()
    silence_logs()
    photograph_day()
    photograph_spent()
    photograph_demo()


if __name__ == "__main__":
    main()
