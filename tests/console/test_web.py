"""The console in a browser: how it is called, who is let in, and that nobody is left behind."""

import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from console.demo.files import free_port
from console.web import HOST, console_command, note
from tests.console.tui.live_store import MTOK, live_world, nobody_left


def test_the_console_of_a_page_cannot_act() -> None:
    words = shlex.split(console_command(Path("a folder/mtok.toml"), ["--theme", "dark"]))
    assert words[0] == sys.executable
    assert words[3:6] == ["console", "--read-only", "--no-collect"]
    assert words[6:] == ["--config", str(Path("a folder/mtok.toml").absolute()), "--theme", "dark"]


def test_whoever_starts_it_is_told_that_there_is_no_password() -> None:
    assert "no password" in note(8000)
    assert "ssh -L 8000:127.0.0.1:8000" in note(8000)


def test_without_textual_serve_it_says_what_to_install(tmp_path: Path) -> None:
    world = live_world(tmp_path)
    code = "import sys; sys.modules['textual_serve.server'] = None; from console.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "console", "--web", "--config", str(world.settings.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    world.database.close()
    assert done.returncode == 2
    assert done.stderr == "mtok: console --web: textual-serve is not installed; pip install 'mtok[web]'\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a served console; at its end nothing of it is left."""
    world, port = live_world(tmp_path_factory.mktemp("web")), free_port()
    command = [*MTOK, "console", "--web", "--port", str(port), "--config", str(world.settings.path)]
    with nobody_left(world), subprocess.Popen(command) as server:
        _wait_for(port)
        yield port
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
    world.database.close()


def _wait_for(port: int) -> None:
    end_s = time.monotonic() + 20
    while time.monotonic() < end_s:
        try:
            socket.create_connection((HOST, port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("nothing listens")


@pytest.mark.processes
async def test_a_page_shows_the_fleet_and_has_no_key_that_acts(served: int) -> None:
    here = f"http://{HOST}:{served}"
    async with aiohttp.ClientSession() as session:
        async with session.get(here) as page:
            assert page.status == 200
            assert f"ws://{HOST}:{served}/ws" in await page.text()
        async with session.ws_connect(f"{here}/ws?width=80&height=24", origin=here) as socket_:
            said = await _until(socket_, b"OUT 5m")
            assert b"h100" in said
            assert b"READ-ONLY" in said.upper().replace(b" ", b"-")
            for key in ("h", "e", "l", "?"):
                await socket_.send_json(["stdin", key])
            said = await _until(socket_, b"HELP")
            assert b"Hibernate h100" not in said
            assert b"exported" not in said


async def _until(socket_: aiohttp.ClientWebSocketResponse, text: bytes) -> bytes:
    said = b""
    while text not in re.sub(rb"\x1b\[[\d;?]*[a-zA-Z]", b"", said):
        said += await socket_.receive_bytes(timeout=20)
    return re.sub(rb"\x1b\[[\d;?]*[a-zA-Z]", b" ", said)


@pytest.mark.processes
async def test_pages_of_others_are_not_let_in(served: int) -> None:
    here = f"http://{HOST}:{served}"
    async with aiohttp.ClientSession() as session:
        async with session.get(here, headers={"Host": "evil.example"}) as page:
            assert page.status == 403
        for origin in ("http://evil.example", f"http://{HOST}:1"):
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await session.ws_connect(f"{here}/ws", origin=origin)
