"""A storm of clients against an agent that is killed and started again; then two accounts are compared.

One account is the ledger's, the other the engine's own journal, written before anybody hears of a token.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.agent.conftest import KEY, SERVE, RunningAgent, addresses, put_empty_ledger

CHAT = "/v1/chat/completions"


@dataclass
class Produced:
    """What the engine says of one request."""

    prompt: int = 0
    cached: int = 0
    tokens: list[tuple[float, int]] = field(default_factory=list)
    first_s: float = 0.0

    def first_after(self, tokens: int) -> float:
        """When the first token after so many was produced; infinity where there is none."""
        seen = 0
        for at_s, n in self.tokens:
            seen += n
            if seen > tokens:
                return at_s
        return float("inf")

    def until(self, instant_s: float) -> int:
        """Completion tokens produced until then."""
        return sum(n for at_s, n in self.tokens if at_s <= instant_s)

    @property
    def completion(self) -> int:
        return sum(n for _, n in self.tokens)


@dataclass
class Storm:
    """What came of it: answers that clients read to their end, and the instants of the kills."""

    settings: Path
    model: str = ""
    answers: dict[str, dict[str, int]] = field(default_factory=dict)
    asked: int = 0
    gone: int = 0
    kills_s: list[float] = field(default_factory=list)
    ends: bool = False


async def run_storm(settings: Path, clients: int, lives: int, life_s: float) -> Storm:
    """`clients` ask without a pause, a third of them leaves at random, through `lives` of the agent."""
    storm = Storm(settings)
    rng = random.Random(7)
    tasks: list[asyncio.Task[None]] = []
    for life in range(lives):
        async with _agent(settings) as agent:
            storm.model = await asyncio.to_thread(lambda: agent.model)
            if not tasks:
                tasks = [asyncio.create_task(_client(storm, rng.randrange(1 << 30), n)) for n in range(clients)]
            await asyncio.sleep(life_s + rng.random())
            if life < lives - 1:
                storm.kills_s.append(time.time())
                os.kill(agent.process.pid, signal.SIGKILL)
            else:
                async with asyncio.timeout(60):
                    while len(storm.answers) <= clients:  # noqa: ASYNC110 - on a slow machine the last life is longer
                        await asyncio.sleep(0.1)
                storm.ends = True
                await asyncio.gather(*tasks)
                while (await asyncio.to_thread(agent.usage))["in_flight"]:  # noqa: ASYNC110 - nothing says so
                    await asyncio.sleep(0.1)
                agent.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(agent.process.wait, 30)
    return storm


@contextlib.asynccontextmanager
async def _agent(settings: Path) -> AsyncIterator[RunningAgent]:
    public, control = addresses(settings)
    put_empty_ledger(settings.with_name("ledger.db"))
    log = (settings.parent / "agent.log").open("ab")
    process = subprocess.Popen([*SERVE, str(settings)], stdout=log, stderr=log)  # noqa: ASYNC220
    agent = RunningAgent(settings.parent, process, public, control)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                if (await asyncio.to_thread(agent.call, f"{public}/health"))[0] == 200:
                    break
            assert process.poll() is None, (settings.parent / "agent.log").read_text()
            await asyncio.sleep(0.05)
        await asyncio.to_thread(agent.lease)
        yield agent
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        log.close()


async def _client(storm: Storm, seed: int, number: int) -> None:
    rng = random.Random(seed)
    host, port = addresses(storm.settings)[0].removeprefix("http://").split(":")
    while not storm.ends:
        leaves = number % 3 == 0
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            await asyncio.sleep(0.1)
            continue
        try:
            storm.asked += 1
            async with asyncio.timeout(rng.random() * 1.5 if leaves else 60):
                await _ask(storm, reader, writer, rng)
        except TimeoutError:
            storm.gone += 1
        except OSError:
            await asyncio.sleep(0.1)  # the agent was killed
        finally:
            writer.close()


async def _ask(
    storm: Storm, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rng: random.Random
) -> None:
    stream = rng.random() < 0.5
    body: dict[str, Any] = {
        "model": storm.model,
        "messages": [{"role": "user", "content": f"Count to {rng.randrange(9)}."}],
        "max_tokens": rng.randrange(1, 120),
        "stream": stream,
    }
    if stream:
        body["stream_options"] = {"include_usage": True}
    raw = json.dumps(body).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {KEY}\r\n"
    writer.write(f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw)
    answer = (await reader.read(-1)).decode()
    if not answer.startswith("HTTP/1.1 200"):
        await asyncio.sleep(0.05 + rng.random() * 0.1)
        return
    if stream and "data: [DONE]" in answer:
        last = json.loads(answer[answer.rindex('data: {"id"') :].split("\n")[0].removeprefix("data: "))
        storm.answers[last["id"]] = last["usage"]
    elif not stream and answer.endswith("}"):
        whole = json.loads(answer[answer.index("\r\n\r\n") :])
        storm.answers[whole["id"]] = whole["usage"]


def read_journal(path: Path) -> dict[str, Produced]:
    """The engine's account, by request."""
    found: defaultdict[str, Produced] = defaultdict(Produced)
    for line in path.read_text(encoding="utf-8").splitlines():
        at, id_, what, number = line.split(" ")
        one = found[id_]
        one.first_s = one.first_s or float(at)
        if what == "token":
            one.tokens.append((float(at), int(number)))
        elif what in ("prompt", "cached"):
            setattr(one, what, int(number))
    return dict(found)


def read_entries(path: Path) -> dict[str, dict[str, Any]]:
    """The ledger's account, by request."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return {row["id"]: dict(row) for row in connection.execute("SELECT * FROM entries")}
