"""The control API through a channel: the agent listens on its host's loopback alone."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from console.collector.sources import ask_agent
from console.errors import AgentUnreachable
from console.hosts.agent_client import AgentClient
from console.hosts.host import SshHost
from console.hosts.ssh_transport import SshTransport
from console.hosts.target import SshTarget
from tests.console.hosts.conftest import Answering
from tests.sshd import Sshd, running_sshd


@contextlib.asynccontextmanager
async def agent_at(target: SshTarget, port: int, timeout_s: float = 5.0) -> AsyncIterator[AgentClient]:
    host = SshHost("h100-a", target)
    client = AgentClient("h100-a", f"http://127.0.0.1:{port}", "secret", timeout_s, SshTransport(host, port))
    try:
        yield client
    finally:
        await client.close()
        await host.close()


async def test_requests_go_through_one_channel_that_is_kept(sshd: Sshd, answering: Answering) -> None:
    async with agent_at(sshd.target(), answering.port) as agent:
        for _ in range(3):
            assert (await agent.status()).engine == "reference engine"
        assert (answering.requests, answering.connections) == (3, 1)
        assert len(sshd.sessions()) == 1


async def test_many_at_once_share_the_connection(sshd: Sshd, answering: Answering) -> None:
    async with agent_at(sshd.target(), answering.port) as agent:
        found = await asyncio.gather(*(agent.status() for _ in range(12)))
        assert [status.engine for status in found] == ["reference engine"] * 12
        assert answering.connections <= 4


async def test_nobody_listening_is_told_apart(sshd: Sshd) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with agent_at(sshd.target(), taken.getsockname()[1]) as agent:
            with pytest.raises(AgentUnreachable, match=r"nothing listens on 127\.0\.0\.1"):
                await agent.status()


async def test_forwarding_that_is_not_allowed_is_told_apart(tmp_path: Path, answering: Answering) -> None:
    with running_sshd(tmp_path / "strict", "AllowTcpForwarding no") as sshd:
        async with agent_at(sshd.target(), answering.port) as agent:
            with pytest.raises(AgentUnreachable, match="AllowTcpForwarding"):
                await agent.status()


async def test_a_tunnel_needs_no_session(tmp_path: Path, answering: Answering) -> None:
    with running_sshd(tmp_path / "none", "MaxSessions 0") as sshd:
        async with agent_at(sshd.target(), answering.port) as agent:
            assert (await agent.status()).engine == "reference engine"


async def test_a_server_killed_mid_request_is_an_agent_that_is_unreachable_and_then_back(
    sshd: Sshd, answering: Answering
) -> None:
    answering.body, body = None, answering.body
    async with agent_at(sshd.target(), answering.port) as agent:
        asked = asyncio.create_task(agent.status())
        await answering.asked.wait()
        sshd.kill_sessions()
        with pytest.raises(AgentUnreachable):
            await asked
        answering.body = body
        assert (await agent.status()).engine == "reference engine"


async def test_an_agent_that_never_answers_costs_its_own_time_only(sshd: Sshd, answering: Answering) -> None:
    answering.body, body = None, answering.body
    async with agent_at(sshd.target(), answering.port, timeout_s=0.5) as agent:
        with pytest.raises(AgentUnreachable, match="no answer in time"):
            await agent.status()
        answering.body = body
        assert (await agent.status()).engine == "reference engine"
        assert len(sshd.sessions()) == 1


async def test_a_secret_that_no_header_carries_is_not_quoted(sshd: Sshd, answering: Answering) -> None:
    host, url = SshHost("h100-a", sshd.target()), f"http://127.0.0.1:{answering.port}"
    for transport in (SshTransport(host, answering.port), None):
        async with AgentClient("h100-a", url, "SECRET\nTWO", transport=transport) as agent:
            assert await ask_agent(agent, 10) == "GET /control/usage: LocalProtocolError"
    await host.close()


@pytest.mark.parametrize("body", [b"not JSON", b"[1]", b"\xff"])
async def test_an_answer_that_is_no_json_object_is_an_agent_that_is_unreachable(
    sshd: Sshd, answering: Answering, body: bytes
) -> None:
    answering.body = body
    async with agent_at(sshd.target(), answering.port) as agent:
        with pytest.raises(AgentUnreachable):
            await agent.status()


async def test_a_refused_host_key_reaches_the_screen_as_one_line(sshd: Sshd, answering: Answering) -> None:
    (sshd.folder / "known_hosts").unlink()
    async with agent_at(sshd.target(), answering.port) as agent:
        answer = await ask_agent(agent, 5)
    assert isinstance(answer, str)
    assert answer.startswith("the host key of 8429, SHA256:")


@pytest.fixture
def listeners() -> Iterator[tuple[int, int]]:
    """Two ports: one speaks a banner of SSH and closes, as a cheap stand-in for a host; one never says a word."""
    quick, silent = socket.create_server(("127.0.0.1", 0), backlog=256), socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()
    kept = []

    def serve() -> None:
        quick.settimeout(0.1)
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                client, _ = quick.accept()
                client.close()

    def accept() -> None:
        silent.settimeout(0.1)
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                kept.append(silent.accept()[0])

    threads = [threading.Thread(target=serve), threading.Thread(target=accept)]
    for thread in threads:
        thread.start()
    yield quick.getsockname()[1], silent.getsockname()[1]
    stop.set()
    for thread in threads:
        thread.join()
    for one in (quick, silent, *kept):
        one.close()


async def test_one_of_200_hosts_that_hangs_delays_no_other_and_itself_only_once(
    sshd: Sshd, answering: Answering, listeners: tuple[int, int]
) -> None:
    """One real sshd, one that accepts and never answers, and 198 cheap listeners that hang up at once."""
    quick, silent = listeners
    targets = [sshd.target(), sshd.target(port=silent, connect_within_s=6.0)]
    targets += [sshd.target(port=quick) for _ in range(198)]
    hosts = [SshHost(f"host-{n}", target) for n, target in enumerate(targets)]
    agents = [AgentClient(host.name, "http://a", "s", 5, SshTransport(host, answering.port)) for host in hosts]
    took_s: dict[str, float] = {}

    async def ask(agent: AgentClient) -> str | object:
        begun = time.monotonic()
        answer = await ask_agent(agent, 30)
        took_s[agent.agent] = time.monotonic() - begun
        return answer

    try:
        answers = await asyncio.gather(*(ask(agent) for agent in agents))
        assert "usage" in str(answers[0])  # reached: what it says is no usage
        assert "within 6 s" in str(answers[1])
        hung_s = took_s.pop("host-1")
        assert 5 < hung_s < 20
        assert max(took_s.values()) < hung_s
        stored = await asyncio.wait_for(asyncio.to_thread(lambda: "stored"), 30)  # asyncio's own threads are free
        assert stored == "stored"
        await asyncio.sleep(1.1)  # the pause of the one that hangs
        begun = time.monotonic()
        await ask(agents[1])
        assert time.monotonic() - begun < 5  # tried again, behind the tick's back
    finally:
        await asyncio.gather(*(agent.close() for agent in agents), *(host.close() for host in hosts))
