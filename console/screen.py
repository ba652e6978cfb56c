"""`mtok console`: the screen, or a log of lines, on one store."""

import gc
import os
import queue
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from console.read_ahead import Ahead
from store.errors import SettingsError

if TYPE_CHECKING:
    from console.service import Service
    from console.settings import Settings
    from store.database import Database
    from store.fleet_view import Fleet

_OPENED_WITHIN_S = 30.0  # a store that answers nobody keeps this process waiting as well
_READ_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asks of the screen. Empty and None: as the settings say."""

    may_collect: bool = True
    is_read_only: bool = False
    at: datetime | None = None
    theme: str = ""
    is_ascii: bool = False
    has_mouse: bool = True
    is_thin: bool = True
    is_plain: bool = False
    greeting: str = ""


def open_console(config: Path | None, wish: Wish, ahead: Ahead | None = None) -> int:
    """The screen, with a collector inside where one may lead. A read-only one, and a replay, never collect.

    `ahead`: a second process, which reads what is shown first while this one asks the terminal and loads Textual.

    Raises:
        SettingsError, StoreError: the settings, the store, or the wishes together cannot be used.
        NoScreen: this is no terminal that can be drawn on.
    """
    if wish.is_plain and wish.at is not None:
        raise SettingsError("--at", "--plain tells what is, not what was", "use --once, or leave one of them out")
    if wish.is_plain:
        gc.enable()  # which `console.main` put off
        return _lines(config, wish)
    return _screen(config, wish, ahead or Ahead())


def look_once(config: Path | None, wish: Wish, *, as_json: bool) -> None:
    """What the screen would show, on stdout: now, or at the past instant that is wished for.

    Raises:
        SettingsError, StoreError: the settings or the store cannot be used, or do not reach back that far.
    """
    from console.commands import print_fleet

    with _opened(config, wish) as service:
        print_fleet(service.fleet() if wish.at is None else service.fleet_at(wish.at), as_json=as_json)


def serve_console(config: Path | None, wish: Wish, port: int) -> int:
    """The read-only screen, to a browser on loopback.

    Raises:
        SettingsError, StoreError: the settings or the store cannot be used.
        NoWeb, PortTaken: nothing can be served.
    """
    from console.opening import opened
    from console.web import serve

    gc.enable()
    if wish.is_plain:
        raise SettingsError("--web", "a browser draws the screen, not --plain", "leave one of them out")
    with opened(config, read_only=True) as (settings, _):
        path, theme = settings.path, _chosen_theme(settings, wish)
    options = ["--theme", "dark" if theme == "auto" else theme]
    options += ["--at", wish.at.isoformat()] if wish.at is not None else []
    chosen = {"--ascii": wish.is_ascii, "--no-mouse": not wish.has_mouse, "--plain-output": not wish.is_thin}
    return serve(path, port, [*options, *(name for name, is_chosen in chosen.items() if is_chosen)])


def _lines(config: Path | None, wish: Wish) -> int:
    from console.plain import run_plain

    with _opened(config, wish) as service:
        notes: queue.SimpleQueue[str] = queue.SimpleQueue()
        chosen = _why_it_only_shows(service, wish)
        if chosen is not None:
            notes.put(_note(chosen))
            return run_plain(service, notes)
        with _collecting(service, lambda why_not: notes.put(_note(why_not))) as begin:
            begin()
            return run_plain(service, notes)


def _screen(config: Path | None, wish: Wish, ahead: Ahead) -> int:
    from console.first_look import FirstLook
    from console.opening import found_settings

    settings = found_settings(config)
    specs, policy = settings.tier_specs, settings.gate_policy
    ahead.ask(FirstLook(settings.store_url, _only_looks(settings, wish), specs, policy, settings.trend_step))
    look = _look(settings, wish)
    from console.tui.app import MtokApp
    from console.tui.messages import Said
    from console.tui.run import run_screen
    from console.tui.view import View

    database, is_read_only = _store(settings, wish, ahead)
    with closing(_service(database, is_read_only, settings, wish)) as service:
        if wish.at is not None:
            service.fleet_at(wish.at)  # or one line on stderr, before there is a screen
        service.looked_ahead(partial(_first_fleet, ahead))
        chosen = _why_it_only_shows(service, wish)
        note = wish.greeting or (_note(chosen) if chosen is not None else "")
        view = View(service.actor, is_read_only=service.is_read_only, at=wish.at, note=note)
        if chosen is not None:
            return run_screen(MtokApp(service, view, Path.cwd(), look), has_mouse=look.has_mouse)
        own, view.collects_from_s = "", time.monotonic()

        def tell(why_not: str | None) -> None:
            nonlocal own
            if why_not is not None:
                view.collects_from_s = None
            if why_not is not None or view.note in ("", own):  # else that is the answer to a key
                own = _note(why_not)
                app.post_message(Said(own))

        with _collecting(service, tell) as begin:
            app = MtokApp(service, view, Path.cwd(), look, on_standing=begin)
            return run_screen(app, has_mouse=look.has_mouse)


def _first_fleet(ahead: Ahead) -> "Fleet | None":
    """What the second process has read; then it is not needed any more."""
    try:
        fleet: Fleet | None = ahead.taken(_READ_WITHIN_S)
        return fleet
    finally:
        ahead.close()


def _why_it_only_shows(service: "Service", wish: Wish) -> str | None:
    """Why this console is not meant to collect; None where it is."""
    if service.is_read_only:
        return "it can only look" if wish.at is None else "it shows the past"
    return None if wish.may_collect else "it was started with --no-collect"


def _note(why_not: str | None) -> str:
    if why_not is None:
        return "this console collects when nobody else does"
    return f"this console does not collect: {why_not}"


@contextmanager
def _collecting(service: "Service", tell: Callable[[str | None], None]) -> Iterator[Callable[[], None]]:
    """Yields what begins to collect; `tell` hears why it does not, and None once it does."""
    from console.collector.inside import InsideCollector

    collector = InsideCollector(lambda: service.database, service.settings, tell)
    try:
        yield collector.start
    finally:
        collector.stop()


def _store(settings: "Settings", wish: Wish, ahead: Ahead) -> "tuple[Database | Callable[[], Database], bool]":
    """The store, and whether it may only be read: one that could be read ahead is opened when it is asked first."""
    from console.opening import open_store

    opens = partial(open_store, settings, read_only=_only_looks(settings, wish))
    is_read_only = ahead.taken(_OPENED_WITHIN_S)
    if is_read_only is not None:
        return opens, is_read_only
    database = opens()
    return database, database.is_read_only


@contextmanager
def _opened(config: Path | None, wish: Wish) -> "Iterator[Service]":
    """The engineer's side of the store, which is open already."""
    from console.opening import found_settings, open_store

    settings = found_settings(config)
    with closing(open_store(settings, read_only=_only_looks(settings, wish))) as database:
        yield _service(database, database.is_read_only, settings, wish)


def _only_looks(settings: "Settings", wish: Wish) -> bool:
    """Whether nothing may be written: no store is made or upgraded then, nor by who looks at the past."""
    return settings.console.read_only or wish.is_read_only or wish.at is not None


def _service(
    database: "Database | Callable[[], Database]", is_read_only: bool, settings: "Settings", wish: Wish
) -> "Service":
    from console.service import Service
    from store.clock import SystemClock

    return Service(database, settings, SystemClock(), is_read_only=is_read_only or _only_looks(settings, wish))


def _chosen_theme(settings: "Settings", wish: Wish) -> str:
    from console.screen_settings import ThemeName

    if wish.theme and wish.theme not in get_args(ThemeName):
        raise SettingsError(
            f"--theme {wish.theme}", "there is no such theme", f"choose one of: {', '.join(get_args(ThemeName))}"
        )
    return wish.theme or settings.console.theme


def _look(settings: "Settings", wish: Wish) -> Any:
    from console.tui.terminal import asks_background, background_is_light, look_for, this_terminal

    section = settings.console
    asked: dict[str, Any] = {"theme": _chosen_theme(settings, wish)}
    asked |= {"ascii": True} if wish.is_ascii else {}
    asked |= {} if wish.has_mouse else {"mouse": False}
    asked |= {} if wish.is_thin else {"plain_output": True}
    section = section.model_copy(update=asked)
    terminal = this_terminal(os.environ)
    if asks_background(terminal, section):
        is_light = background_is_light(sys.stdin.fileno(), sys.stdout.fileno())
        terminal = replace(terminal, is_light=is_light)
    return look_for(terminal, section)
