"""What the tests of hosts share: a real sshd, and a small HTTP server on loopback as an agent's stand-in."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.sshd import Sshd, running_sshd


@pytest.fixture(autouse=True)
def _nobodys_agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the keys of whoever runs it."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", os.fspath(tmp_path / "home"))


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path / "sshd") as server:
        yield server


class Answering:
    """An HTTP server that counts its connections; it answers what it is told to, or nothing."""

    def __init__(self) -> None:
        self.connections, self.requests = 0, 0
        self.body: bytes | None = b'{"engine": {"label": "reference engine"}, "version": "0.1.0"}'
        self.asked = asyncio.Event()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.requests += 1
                self.asked.set()
                if self.body is None:
                    await reader.read()
                    break
                head = (
                    f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(self.body)}\r\n\r\n"
                )
                writer.write(head.encode() + self.body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def answering() -> AsyncIterator[Answering]:
    agent = Answering()
    server = await asyncio.start_server(agent.serve, "127.0.0.1", 0)
    agent.port = server.sockets[0].getsockname()[1]
    yield agent
    server.close()
