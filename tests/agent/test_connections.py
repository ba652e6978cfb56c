"""A client that offers another protocol is answered as if it had not."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agent.connections import make_server
from agent.settings import Limits

# as Java's HttpClient sends it
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
WEBSOCKET = (
    b"Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
OFFERS = pytest.mark.parametrize("offer", [H2C, WEBSOCKET], ids=["h2c", "websocket"])
BODY = b"\r\nUpgrade: a body's own\r\n\r\nGET / HTTP/1.1\r\n\r\n"
SENT = {
    "length": b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY),
    "chunks": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
}


async def echo(request: Request) -> Response:
    """What came: the method, the number of headers, the body."""
    return Response(f"<{request.method} {len(request.headers)} ".encode() + await request.body() + b">")


@contextlib.asynccontextmanager
async def speaking() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a server that says what it was sent."""
    server = make_server(Starlette(routes=[Route("/a", echo, methods=["GET", "POST"])]), Limits())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        try:
            async with asyncio.timeout(30):
                yield reader, writer
        finally:
            writer.close()
            server.should_exit = True
            await serving


@OFFERS
@pytest.mark.parametrize("sent", SENT.values(), ids=SENT)
@pytest.mark.parametrize("size", [1, 7, 10**6])
async def test_an_offer_of_another_protocol_loses_no_body(offer: bytes, sent: bytes, size: int) -> None:
    request = b"POST /a HTTP/1.1\r\nHost: a\r\n" + offer + sent
    count = request.partition(b"\r\n\r\n")[0].count(b"\r\n") - 1  # all but Upgrade
    async with speaking() as (reader, writer):
        for _ in range(2):  # the connection is kept
            for place in range(0, len(request), size):
                writer.write(request[place : place + size])
                await asyncio.sleep(0)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            wanted = b"<POST %d %b>" % (count, BODY)
            assert await reader.readexactly(len(wanted)) == wanted


@OFFERS
async def test_what_follows_an_offer_is_the_next_request(offer: bytes) -> None:
    first = b"POST /a HTTP/1.1\r\n" + offer + SENT["length"]
    async with speaking() as (reader, writer):
        writer.write((first + b"GET /a HTTP/1.1\r\n" + offer + b"\r\n") * 600)  # no depth of calls is reached
        for _ in range(600):
            await reader.readuntil(BODY + b">")
            await reader.readuntil(b"<GET 2 >")


@OFFERS
async def test_an_offer_on_a_connection_that_is_to_be_closed_loses_no_body_either(offer: bytes) -> None:
    offer = offer.replace(b"Connection: ", b"Connection: close, ")
    async with speaking() as (reader, writer):
        writer.write(b"POST /a HTTP/1.1\r\n" + offer + SENT["length"])
        assert BODY + b">" in await reader.read()


async def test_a_tunnel_is_refused() -> None:
    async with speaking() as (reader, writer):
        writer.write(b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\nGET /a HTTP/1.1\r\n\r\n")
        assert (await reader.read()).count(b"HTTP/1.1 400") == 1
