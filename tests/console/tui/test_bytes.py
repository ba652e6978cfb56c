"""What is promised never to be sent, on a real pseudo-terminal: signs beyond ASCII, colours, modes of the mouse."""

import re
from collections.abc import Iterator

import pytest

from tests.console.fleet_world import FleetWorld
from tests.console.tui.confirmed import cancel, open_dialog, shows_the_fleet
from tests.console.tui.live_store import console_of, live_world
from tests.terminal import on_pty

pytestmark = pytest.mark.processes
_SGR = re.compile(rb"\x1b\[([\d;]*)m")
_MOUSE = re.compile(rb"\x1b\[\?[\d;]*(?:1000|1002|1003|1005|1006|1015|1016)[\d;]*h")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetWorld]:
    made = live_world(tmp_path_factory.mktemp("world"))
    yield made
    made.database.close()


def sent(world: FleetWorld, *options: str, **environ: str) -> bytes:
    """All that a session sends: the fleet, a dialog, a chart, the help, and the end."""
    with on_pty(console_of(world, *options), environ={"LC_ALL": "C.UTF-8", **environ}) as terminal:
        terminal.until(shows_the_fleet)
        open_dialog(terminal)
        cancel(terminal)
        terminal.press(b"2")
        terminal.until(lambda text: "mtok TIER" in text)
        terminal.press(b"?")
        terminal.until(lambda text: "mtok HELP" in text)
        terminal.press(b"q")
        assert terminal.ended() == 0
        return b"".join(terminal.sent)


def colours(stream: bytes) -> set[bytes]:
    """Every SGR parameter that names a colour, the default ones left out."""
    codes = {code for codes in _SGR.findall(stream) for code in codes.split(b";")}
    return {code for code in codes if re.fullmatch(rb"[349][0-7]|10[0-7]|[34]8", code)}


@pytest.mark.parametrize("environ", [{"LC_ALL": "en_US.ISO-8859-1"}, {"TERM": "linux"}], ids=["Latin-1", "linux"])
def test_nothing_beyond_ascii_is_sent_where_it_cannot_be_shown(world: FleetWorld, environ: dict[str, str]) -> None:
    stream = sent(world, **environ)
    assert stream.isascii()
    assert colours(stream)


def test_no_sign_no_colour_and_no_mouse_where_they_are_not_wanted(world: FleetWorld) -> None:
    stream = sent(world, "--ascii", "--no-mouse", NO_COLOR="1")
    assert stream.isascii()
    assert colours(stream) == set()
    assert _MOUSE.search(stream) is None
