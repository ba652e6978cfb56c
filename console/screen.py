"""`mtok console`: the screen, a log of lines, or one look, on one store."""

import gc
import os
import sys
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from console.opening import opened
from console.read_ahead import Ahead, read_ahead
from console.screen_settings import ThemeName
from console.service import Service
from console.settings import Settings
from store.clock import SystemClock
from store.errors import SettingsError, StoreUnreachable
from store.fleet_reader import FleetMemory

_PATIENCE_S = 0.2  # for a reading that is under way for as long as Textual took to load


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asks of the screen. Empty and None: as the settings say."""

    no_collect: bool = False
    read_only: bool = False
    at: datetime | None = None
    theme: str = ""
    is_ascii: bool = False
    no_mouse: bool = False
    plain_output: bool = False
    is_plain: bool = False
    greeting: str | None = None


def open_console(config: Path | None, wish: Wish) -> int:
    """The screen, with a collector inside where one may lead. A read-only one, and a replay, never collect.

    Raises:
        SettingsError, StoreError: the settings, the store, or the wishes together cannot be used.
        NoScreen: this is no terminal that can be drawn on.
    """
    from console.collector.inside import collecting

    if wish.is_plain and wish.at is not None:
        raise SettingsError("--at", "--plain tells what is, not what was", "use --once, or leave one of them out")
    with (
        _fleet_ahead(config, wish) as ahead,
        opened(config, read_only=wish.read_only) as (settings, database),
    ):
        only_looks = settings.console.read_only or wish.read_only or database.is_read_only or wish.at is not None
        wanted = not wish.no_collect and not only_looks
        service = Service(database, settings, SystemClock(), is_read_only=only_looks)
        look = None if wish.is_plain else _look(settings, wish)
        with collecting(database, settings, wanted=wanted) as note:
            if wish.is_plain:
                from console.plain import run_plain

                gc.enable()  # which `console.cli` put off
                return run_plain(service, wish.greeting or note)
            return _run(service, look, replace(wish, greeting=wish.greeting or note), ahead)


def serve_console(config: Path | None, wish: Wish, port: int) -> int:
    """The read-only screen, to a browser on loopback.

    Raises:
        SettingsError, StoreError: the settings or the store cannot be used.
        NoWeb, PortTaken: nothing can be served.
    """
    from console.web import serve

    gc.enable()
    if wish.is_plain:
        raise SettingsError("--web", "a browser draws the screen, not --plain", "leave one of them out")
    with opened(config, read_only=True) as (settings, _):
        path, theme = settings.path, _chosen_theme(settings, wish)
    options = ["--theme", "dark" if theme == "auto" else theme]
    options += ["--at", wish.at.isoformat()] if wish.at is not None else []
    chosen = {"--ascii": wish.is_ascii, "--no-mouse": wish.no_mouse, "--plain-output": wish.plain_output}
    return serve(path, port, [*options, *(name for name, is_chosen in chosen.items() if is_chosen)])


def _chosen_theme(settings: Settings, wish: Wish) -> str:
    if wish.theme and wish.theme not in get_args(ThemeName):
        raise SettingsError(
            f"--theme {wish.theme}", "there is no such theme", f"choose one of: {', '.join(get_args(ThemeName))}"
        )
    return wish.theme or settings.console.theme


def _look(settings: Settings, wish: Wish) -> Any:
    from console.tui.terminal import asks_background, background_is_light, look_for, this_terminal

    section = settings.console
    asked: dict[str, Any] = {"theme": _chosen_theme(settings, wish)}
    asked |= {"ascii": True} if wish.is_ascii else {}
    asked |= {"mouse": False} if wish.no_mouse else {}
    asked |= {"plain_output": True} if wish.plain_output else {}
    section = section.model_copy(update=asked)
    terminal = this_terminal(os.environ)
    if asks_background(terminal, section):
        is_light = background_is_light(sys.stdin.fileno(), sys.stdout.fileno())
        terminal = replace(terminal, is_light=is_light)
    return look_for(terminal, section)


def _fleet_ahead(config: Path | None, wish: Wish) -> AbstractContextManager[Ahead[FleetMemory]]:
    """The fleet, read while the terminal is asked and Textual loads."""
    if wish.at is not None or wish.is_plain:
        return nullcontext(Ahead())

    def read() -> FleetMemory:
        with opened(config, read_only=True) as (settings, database):
            return Service(database, settings, SystemClock()).fleet_memory()

    return read_ahead(read)


def _run(service: Service, look: Any, wish: Wish, ahead: Ahead[FleetMemory]) -> int:
    from console.tui.app import MtokApp
    from console.tui.run import run_screen
    from console.tui.view import View

    if wish.at is not None:
        service.fleet_at(wish.at)  # or one line on stderr, before there is a screen
    view = View(service.actor, is_read_only=service.is_read_only, at=wish.at, note=wish.greeting or "")
    memory = ahead.taken(_PATIENCE_S)
    if memory is not None:
        with suppress(StoreUnreachable):  # the screen's own reading says so
            service.remember(memory)
            view.fleet, view.read_s = service.fleet(), time.monotonic()
    return run_screen(MtokApp(service, view, Path.cwd(), look), has_mouse=look.has_mouse)
