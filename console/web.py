"""`mtok console --web`: the console in a browser of this machine, to look at and nothing else.

textual-serve starts one console a page. A browser says no more than that it is here: no user stands behind it whom
the journal could name, so it is read-only, writes no file and reads no host.
"""

import asyncio
import shlex
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.errors import ExitCode, MtokError

if TYPE_CHECKING:
    from aiohttp.web import Application

HOST = "127.0.0.1"
_START = "import sys; from console.main import main; sys.exit(main())"


class NoWeb(MtokError):
    """There is nothing here to serve a browser with."""

    exit_code = ExitCode.USAGE

    def __init__(self) -> None:
        super().__init__("console --web: textual-serve is not installed; pip install 'mtok[web]'")


class PortTaken(MtokError):
    """The port cannot be listened on."""

    def __init__(self, port: int, problem: str) -> None:
        super().__init__(f"console --web: port {port}: {problem}; choose another with --port")
        self.port, self.problem = port, problem


def console_command(config: Path, options: Sequence[str]) -> str:
    """The console of one page, as a shell reads it."""
    fixed = ("console", "--read-only", "--no-collect", "--config", str(config.absolute()))
    return shlex.join([sys.executable, "-c", _START, *fixed, *options])


def note(port: int) -> str:
    """What whoever starts it has to know."""
    return (
        f"read-only console at http://{HOST}:{port}\n"
        f"There is no password: every user of this machine can look at it. It listens on loopback alone; from\n"
        f"another machine: ssh -L {port}:{HOST}:{port} THIS-HOST, with the same port on both sides. Ctrl+C ends it."
    )


def serve(config: Path, port: int, options: Sequence[str]) -> int:
    """Serve until SIGINT or SIGTERM; each page's console ends with its page.

    Raises:
        NoWeb: textual-serve is not installed.
        PortTaken: the port cannot be listened on.
    """
    try:
        from aiohttp import web
        from textual_serve.server import Server
    except ImportError:
        raise NoWeb from None
    own = tuple(f"{name}:{port}" for name in (HOST, "localhost"))
    origins = ("", *(f"http://{name}" for name in own))

    @web.middleware
    async def only_own_pages(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """A page of another site may open a WebSocket to loopback, and a name of its own may lead here."""
        if request.host not in own or request.headers.get("Origin", "") not in origins:
            raise web.HTTPForbidden(text=f"open http://{HOST}:{port} instead")
        return await handler(request)

    async def made(server: Any) -> "Application":
        app: Application = await server._make_app()  # private: there is no other seam, hence <1.2
        app.middlewares.append(only_own_pages)
        app.on_startup.clear()  # a banner on stdout
        return app

    public = f"http://{HOST}:{port}"
    server = Server(console_command(config, options), host=HOST, port=port, title="mtok", public_url=public)
    print(note(port), file=sys.stderr)
    try:
        web.run_app(made(server), host=HOST, port=port, print=None, access_log=None, loop=asyncio.new_event_loop())
    except OSError as error:
        raise PortTaken(port, error.strerror or str(error)) from None
    return int(ExitCode.OK)
