"""The log of a host on the screen: as it comes, obeying nothing in it, and saying what went wrong."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import ClassVar

from textual.app import App
from textual.widgets import Log

from console.errors import HostUnreachable
from console.tui.screens.logs import LogsScreen
from console.tui.widgets.lines import CLASSES, Lines
from store.printable import printable


class Host(App[None]):
    """A screen above another."""

    COMPONENT_CLASSES: ClassVar[set[str]] = set(CLASSES)

    def __init__(self, lines: Callable[[], AsyncIterator[str]]) -> None:
        super().__init__()
        self._lines = lines

    def on_mount(self) -> None:
        self.push_screen(LogsScreen("h100-a: log", self._lines))


def message(app: App[None]) -> str:
    return app.screen.query_one("#message", Lines).text


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(100):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError


async def test_lines_are_shown_as_they_come_and_obey_nobody() -> None:
    more = asyncio.Event()

    async def lines() -> AsyncIterator[str]:
        yield "\x1b[2J[bold]serving[/bold]\tagent=h100-a"
        await more.wait()
        yield "second"

    async with Host(lines).run_test(size=(80, 24)) as pilot:
        log = pilot.app.screen.query_one(Log)
        await until(lambda: len(log.lines) >= 1 and "serving" in log.lines[0])
        assert log.lines[0] == "\N{REPLACEMENT CHARACTER}[2J[bold]serving[/bold]    agent=h100-a"
        assert "following" in message(pilot.app)
        more.set()
        await until(lambda: "has ended" in message(pilot.app))
        assert log.lines[1] == "second"
        await pilot.press("escape")
        assert not isinstance(pilot.app.screen, LogsScreen)


async def test_a_host_that_cannot_be_reached_is_said_with_its_remedy() -> None:
    async def lines() -> AsyncIterator[str]:
        raise HostUnreachable("h100-a", "no connection within 10 s", "is it awake?")
        yield ""

    async with Host(lines).run_test(size=(80, 24)) as pilot:
        await until(lambda: "is it awake?" in message(pilot.app))


def test_printable_leaves_text_alone() -> None:
    assert printable("Grüße, 世界") == "Grüße, 世界"
