"""What one client may take: of time, of connections, of its key's quota; and how it reaches the agent."""

import asyncio
import contextlib
import json
import socket
import ssl
import subprocess
import time
import urllib.error
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from agent.connections import make_server
from agent.keys import create_key, revoke_key
from agent.settings import Limits
from tests.agent.conftest import KEY, SECRET, SERVE, RunningAgent, running_agent, write_settings

pytestmark = pytest.mark.processes
CHAT = "/v1/chat/completions"
LIMITS = "[limits]\nrequest_within_s = 1\nmax_prompt_tokens = 60\nmax_request_s = 1\n"


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory, model_dir: Path) -> Iterator[RunningAgent]:
    """One agent with narrow limits."""
    with running_agent(write_settings(tmp_path_factory.mktemp("agent"), model_dir, LIMITS)) as running:
        running.lease()
        yield running


def chat(agent: RunningAgent, **changes: Any) -> dict[str, Any]:
    body = {"model": agent.model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
    return {**body, **changes}


def connect(agent: RunningAgent) -> socket.socket:
    host, port = agent.public.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def patiently(ask: Callable[[], Any]) -> Any:
    """An answer, asked for again where this process was too slow to send: that is dropped like any other."""
    for _ in range(10):
        with contextlib.suppress(ConnectionError, urllib.error.URLError):
            return ask()
    pytest.fail("dropped each time")


HEAD = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 500\r\n\r\n"


@pytest.mark.parametrize(
    "sent", ["", "POST /v1", HEAD[:60], HEAD + "{"], ids=["nothing", "line", "headers", "body"]
)
def test_a_client_that_does_not_finish_its_request_is_dropped(limited: RunningAgent, sent: str) -> None:
    began_s = time.monotonic()  # before it is connected: from there on its time runs
    with connect(limited) as client:
        client.sendall(sent.encode())
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(100) == b""
        assert 0.8 < time.monotonic() - began_s < 60
    assert patiently(limited.usage)["in_flight"] == 0


def test_a_client_that_drips_its_headers_is_dropped_too(limited: RunningAgent) -> None:
    taken = 0
    with connect(limited) as client, contextlib.suppress(ConnectionError):
        for character in HEAD:
            client.sendall(character.encode())
            taken += 1
            time.sleep(0.05)
    assert taken < len(HEAD)


def test_a_second_request_on_a_connection_has_its_own_time(limited: RunningAgent) -> None:
    text = json.dumps(patiently(lambda: chat(limited))).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(text)}\r\n\r\n"
    with connect(limited) as client:
        for _ in range(3):
            client.sendall(head.encode() + text)
            answer = b""
            while b"total_tokens" not in answer:
                part = client.recv(4096)
                assert part, "dropped"
                answer += part
            assert answer.startswith(b"HTTP/1.1 200")
            time.sleep(0.5)


@contextlib.asynccontextmanager
async def patient(max_connections: int = 2048) -> AsyncIterator[tuple[str, int]]:
    """The address of a server that waits for ever, and has no endpoint."""
    server = make_server(Starlette(), Limits(request_within_s=3600, max_connections=max_connections))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            async with asyncio.timeout(60):
                yield listening.getsockname()
        finally:
            server.should_exit = True
            await serving


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def is_answered(connection: Connection) -> bool:
    reader, writer = connection
    with contextlib.suppress(ConnectionError):
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        return await reader.readline() != b""
    return False


async def test_there_are_only_so_many_connections() -> None:
    async with patient(max_connections=20) as address:
        held = [await asyncio.open_connection(*address) for _ in range(40)]
        assert sum([await is_answered(one) for one in held]) == 20
        for _, writer in held:
            writer.close()
        while not await is_answered(late := await asyncio.open_connection(*address)):  # until their ends are seen
            late[1].close()
        late[1].close()


@contextlib.asynccontextmanager
async def speaking() -> AsyncIterator[Connection]:
    """A connection to a server that waits for ever."""
    async with patient() as address:
        reader, writer = await asyncio.open_connection(*address)
        try:
            yield reader, writer
        finally:
            writer.close()


LINES = b"a: b\r\n" * 100_000
TRAILED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"a" * 10**6,
        b"GET / HTTP/1.1\r\n" + LINES,
        b"GET / HTTP/1.1\r\na: " + b"b" * 10**6,
        TRAILED + LINES,
    ],
    ids=["line", "headers", "header", "trailers"],
)
async def test_a_head_without_end_ends_its_connection(sent: bytes) -> None:
    async with speaking() as (reader, writer):
        writer.write(sent)
        with contextlib.suppress(ConnectionError):
            await reader.read()


async def test_a_long_head_and_a_longer_body_are_read() -> None:
    head = b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\na: " + b"b" * 60_000 + b"\r\n\r\n"
    async with speaking() as (reader, writer):
        for _ in range(2):
            writer.write(head + b"c" * 10**6)
            await reader.readuntil(b"HTTP/1.1 404")


def test_a_prompt_may_be_only_so_long(limited: RunningAgent) -> None:
    messages = [{"role": "user", "content": "word " * 100}]
    status, body = patiently(lambda: limited.post(CHAT, chat(limited, messages=messages)))
    assert (status, body["error"]["code"]) == (400, "prompt_too_long")


def test_a_request_may_run_only_so_long_and_ends_with_its_usage(limited: RunningAgent) -> None:
    before = patiently(limited.usage)["completion_tokens"]
    # the end-of-sequence token may come earlier: then another seed is tried
    for seed in range(20):
        body = patiently(lambda seed=seed: limited.post(CHAT, chat(limited, max_tokens=4000, seed=seed)))[1]  # type: ignore[misc]
        if body["choices"][0]["finish_reason"] == "length":
            break
    assert body["choices"][0]["finish_reason"] == "length"
    assert 0 < body["usage"]["completion_tokens"] < 4000
    assert patiently(limited.usage)["completion_tokens"] > before


def test_a_quota_cuts_an_answer_to_the_token_and_then_refuses(tmp_path: Path, model_dir: Path) -> None:
    settings = write_settings(tmp_path, model_dir)
    with running_agent(settings) as agent:
        agent.lease()
        key = create_key(tmp_path / "keys", "daily", tokens_per_day=200)
        time.sleep(0.3)
        body = chat(agent, max_tokens=4000, temperature=0)
        status, answer = agent.call(f"{agent.public}{CHAT}", body, key=key)
        assert (status, answer["choices"][0]["finish_reason"]) == (200, "length")
        assert answer["usage"]["total_tokens"] == 200
        status, answer = agent.call(f"{agent.public}{CHAT}", body, key=key)
        assert (status, answer["error"]["code"]) == (429, "insufficient_quota")
        assert int(answer["retry_after"]) > 0
    with running_agent(settings) as agent:  # a restart is no new day
        agent.lease()
        assert agent.call(f"{agent.public}{CHAT}", body, key=key)[0] == 429
        assert agent.post(CHAT, chat(agent))[0] == 200  # other keys are none the worse
        assert agent.usage()["labels"]["daily"]["requests"] == 1


async def test_a_quota_holds_for_many_at_once(agent: RunningAgent) -> None:
    key = create_key(agent.home / "keys", "many", tokens_per_day=1000)
    await asyncio.sleep(0.3)
    body = chat(agent, max_tokens=400, temperature=0)
    calls = [asyncio.to_thread(agent.call, f"{agent.public}{CHAT}", body, key=key) for _ in range(8)]
    answers = await asyncio.gather(*calls)
    used = sum(answer["usage"]["total_tokens"] for status, answer in answers if status == 200)
    assert 900 <= used <= 1000 + 8 * 8


def test_keys_come_and_go_without_a_restart(agent: RunningAgent) -> None:
    key = create_key(agent.home / "keys", "new", requests_per_minute=2)
    time.sleep(0.3)  # it looks at the file four times a second
    answers = [agent.call(f"{agent.public}{CHAT}", chat(agent), key=key) for _ in range(3)]
    assert [status for status, _ in answers] == [200, 200, 429]
    assert answers[2][1]["error"]["code"] == "rate_limit_exceeded"
    revoke_key(agent.home / "keys", "new")
    time.sleep(0.3)
    assert agent.call(f"{agent.public}{CHAT}", chat(agent), key=key)[0] == 401


def test_the_control_api_may_be_a_unix_socket(tmp_path: Path, model_dir: Path) -> None:
    settings = write_settings(tmp_path, model_dir)
    lines = [line for line in settings.read_text().splitlines() if not line.startswith("control_address")]
    settings.write_text("\n".join(['control_address = "unix:control.sock"', *lines]))
    for _ in range(2):  # the second finds what the first, killed, left
        with running_agent(settings) as agent:
            assert (tmp_path / "control.sock").stat().st_mode & 0o777 == 0o660
            assert "401" in over_unix(tmp_path / "control.sock", "wrong")
            assert '"loaded":true' in over_unix(tmp_path / "control.sock", SECRET)
            agent.process.kill()
            agent.process.wait()


def over_unix(path: Path, secret: str) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        head = "GET /control/status HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        client.sendall(f"{head}Authorization: Bearer {secret}\r\n\r\n".encode())
        return client.makefile("rb").read().decode()


def test_tls_by_certificate_files(tmp_path: Path, model_dir: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]
    make += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = subprocess.run([*make, "-keyout", key, "-out", certificate], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("not run: no openssl here")
    more = '[tls]\ncertificate = "cert.pem"\nkey = "key.pem"\n'
    settings = write_settings(tmp_path, model_dir, more)
    context = ssl.create_default_context(cafile=str(certificate))
    with running_agent(settings, tls=context) as agent:
        agent.lease()
        assert agent.public.startswith("https://")
        assert agent.post(CHAT, chat(agent))[0] == 200
        assert agent.status()["loaded"] is True  # control on loopback stays plain
    config = make_server(Starlette(), Limits(), (certificate, key)).config
    config.load()
    assert config.ssl is not None
    assert config.ssl.minimum_version >= ssl.TLSVersion.TLSv1_2
    key.write_text("nonsense")
    done = subprocess.run([*SERVE, str(settings)], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "tls: cannot use" in done.stderr.splitlines()[-1]


def test_logs_hold_no_key_no_secret_and_no_prompt(tmp_path: Path, model_dir: Path) -> None:
    settings = write_settings(tmp_path, model_dir)
    key = create_key(tmp_path / "keys", "new")
    with running_agent(settings) as agent:
        agent.lease()
        agent.call(f"{agent.public}{CHAT}", chat(agent, messages=[{"role": "user", "content": "xyzzy"}]), key=key)
        agent.call(f"{agent.public}{CHAT}", b'{"messages": "plugh', key=key)
        agent.call(f"{agent.public}{CHAT}", chat(agent), key="wrong-key")
        agent.process.terminate()
        agent.process.wait(15)
        assert agent.process.stderr is not None
        text = agent.process.stderr.read().decode()
    assert [json.loads(line)["event"] for line in text.splitlines()][-1] == "stopped"
    assert not any(word in text for word in (key, KEY, SECRET, "xyzzy", "plugh", "wrong-key"))
