"""HTTP to an agent through its host's SSH connection: the agent listens on the host's loopback only."""

from collections.abc import AsyncIterable, Iterable
from typing import Any

import httpcore
import httpx

from console.hosts.channels import Tunnel
from console.hosts.host import SshHost
from console.hosts.threads import in_thread

_MAX_CHANNELS = 4  # to one agent at a time: usage, a lease, a status, one to spare
_IDLE_S = 4.0  # an agent's server (uvicorn) closes an idle connection after 5 s
_MAX_BODY_BYTES = 4_000_000  # of the control API's answers, which are small


class SshTransport(httpx.AsyncBaseTransport):
    """Sends every request to `port` of the host's loopback, whatever its URL says; channels are kept open.

    Raises what httpx raises, and HostUnreachable where it is not about HTTP.
    """

    def __init__(self, host: SshHost, port: int) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            max_connections=_MAX_CHANNELS, keepalive_expiry=_IDLE_S, network_backend=_Channels(host, port)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        url = httpcore.URL(scheme="http", host="127.0.0.1", port=None, target=request.url.raw_path)
        asked = httpcore.Request(
            request.method, url, headers=request.headers.raw, content=request.stream, extensions=request.extensions
        )
        try:
            answer = await self._pool.handle_async_request(asked)
            try:
                content = await _body(answer.stream)
            finally:
                await answer.aclose()
        except httpcore.TimeoutException as error:
            raise httpx.ReadTimeout(str(error), request=request) from error
        except httpcore.LocalProtocolError as error:
            raise httpx.LocalProtocolError(str(error), request=request) from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ConnectionNotAvailable) as error:
            raise httpx.RemoteProtocolError(str(error) or "the connection ended", request=request) from error
        return httpx.Response(answer.status, headers=answer.headers, content=content, request=request)

    async def aclose(self) -> None:
        await self._pool.aclose()


async def _body(stream: Iterable[bytes] | AsyncIterable[bytes]) -> bytes:
    assert isinstance(stream, AsyncIterable)
    body = bytearray()
    async for part in stream:
        body += part
        if len(body) > _MAX_BODY_BYTES:
            msg = f"an answer of more than {_MAX_BODY_BYTES} bytes"
            raise httpcore.RemoteProtocolError(msg)
    return bytes(body)


class _Channels(httpcore.AsyncNetworkBackend):
    """Opens channels where httpcore would open sockets."""

    def __init__(self, host: SshHost, port: int) -> None:
        self._host, self._port = host, port

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002   the agent's host is given; so is its port
        port: int,  # noqa: ARG002
        timeout: float | None = None,  # noqa: ASYNC109   httpcore's own word
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        return _ChannelStream(self._host.name, await self._host.tunnel(self._port, timeout))


class _ChannelStream(httpcore.AsyncNetworkStream):
    """A channel as httpcore reads and writes it."""

    def __init__(self, name: str, tunnel: Tunnel) -> None:
        self._name, self._tunnel = name, tunnel

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        try:
            return await in_thread(f"{self._name}: read", lambda: self._tunnel.receive(max_bytes, timeout))
        except TimeoutError:
            raise httpcore.ReadTimeout from None
        except OSError as error:
            raise httpcore.ReadError(str(error)) from None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        try:
            await in_thread(f"{self._name}: write", lambda: self._tunnel.send(buffer, timeout))
        except TimeoutError:
            raise httpcore.WriteTimeout from None
        except OSError as error:
            raise httpcore.WriteError(str(error)) from None

    async def aclose(self) -> None:
        await in_thread(f"{self._name}: close", self._tunnel.close)

    def get_extra_info(self, info: str) -> Any:
        return self._tunnel.is_readable if info == "is_readable" else None
