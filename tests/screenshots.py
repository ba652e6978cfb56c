"""`make screenshots`: the running demo, photographed into screenshots/ as SVG and PNG."""

import asyncio
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import cairosvg
from textual.pilot import Pilot

from console.demo.world import World
from console.service import Service
from console.settings import load_settings
from console.tui.app import MtokApp
from store.clock import SystemClock
from store.database import open_database
from store.logs import silence_logs

FOLDER = Path(__file__).parents[1] / "screenshots"
SIZES = ((120, 40), (80, 24))
_FONT = "Fira Code"  # the one that Textual's SVG names
_MOVES_AFTER_S = 40  # long enough for figures and a trend to have moved


def photograph(app: MtokApp, name: str) -> None:
    """Write what the app shows as `name`.svg and `name`.png."""
    svg = app.export_screenshot(title="mtok demo")
    (FOLDER / f"{name}.svg").write_text(svg, encoding="utf-8")
    kept = re.sub(r"<text ", '<text xml:space="preserve" ', svg)  # or leading spaces are dropped
    cairosvg.svg2png(
        bytestring=kept.encode(), write_to=str(FOLDER / f"{name}.png"), scale=1.0
    )  # whole pixels a cell


async def photograph_all(service: Service, settings_dir: Path) -> None:
    """The fleet and the dialog, at each size."""
    for width, height in SIZES:
        app = MtokApp(service, settings_dir, "press h to hibernate a tier, w to wake it, ? for help")
        async with app.run_test(size=(width, height)) as pilot:
            await shown(pilot)
            photograph(app, f"fleet-{width}x{height}")
            await pilot.press("h")
            await pilot.pause(0.6)
            photograph(app, f"hibernate-{width}x{height}")
            await pilot.press("escape")


async def shown(pilot: Pilot[None]) -> None:
    """Wait until the first reading is on the screen."""
    await pilot.pause(2.0)


def main() -> None:
    """Run the demo, wait until something can be seen, photograph, end it."""
    fonts = subprocess.run(["fc-list", ":", "family"], capture_output=True, text=True, check=False).stdout
    if _FONT not in fonts:  # in another one columns do not stand under each other
        sys.exit(f"not run: the font {_FONT} is not here (Debian: fonts-firacode)")
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder) / "demo")
        world.start()
        silence_logs()
        try:
            settings = load_settings(world.settings)
            database = open_database(settings.store_url)
            asyncio.run(asyncio.sleep(_MOVES_AFTER_S))
            asyncio.run(photograph_all(Service(database, settings, SystemClock(), actor="ada"), world.state))
            database.close()
        finally:
            world.stop()


if __name__ == "__main__":
    main()
