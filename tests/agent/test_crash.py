"""A ledger whose process is killed at random moments opens again, with all that was acknowledged."""

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.ledger import Ledger

KILLS = 100 if os.environ.get("MTOK_PROVE") else 5
# Writes beginnings, checkpoints and ends without a pause, forgets some, and prints what is acknowledged.
WRITER = """
import asyncio, itertools, os, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from agent.engine.protocol import Outcome
from agent.entries import Counts, Entry
from agent.ledger import Ledger

ledger = Ledger(Path(sys.argv[1]))

async def request(number):
    now = datetime.now(UTC)
    def entry(tokens, outcome=None):
        counts = Counts(1, 7, 0, tokens, tokens)
        return Entry(f"{os.getpid()}-{number}", "ab"[number % 2], "c", "m", now, counts, outcome, outcome and now)
    for tokens in range(number % 3):
        await ledger.write([entry(tokens)], busy_ms=number)
    await ledger.write([entry(number % 50, Outcome.STOPPED)])
    os.write(1, f"{os.getpid()}-{number} {number % 50}\\n".encode())

async def main():
    numbers = itertools.count()
    async def client():
        while True:
            await request(next(numbers))
    async def thin():
        while True:
            await ledger.forget(datetime.now(UTC) - timedelta(seconds=0.2), 10**6)
    await asyncio.gather(thin(), *(client() for _ in range(8)))

asyncio.run(main())
"""


@pytest.mark.processes
def test_no_kill_loses_what_was_acknowledged(tmp_path: Path) -> None:
    path, rng = tmp_path / "ledger.db", random.Random(5)
    requests = tokens = 0
    for _ in range(KILLS):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            first = writer.stdout.readline()
            time.sleep(rng.random() * 0.5)
            os.kill(writer.pid, signal.SIGKILL)
            lines = [first, *writer.stdout.readlines()]
        acknowledged = [line.decode().split() for line in lines if line.endswith(b"\n")]
        requests += len(acknowledged)
        tokens += sum(int(number) for _, number in acknowledged)
        ledger = Ledger(path)  # which compares totals with entries, forgotten ones and days
        totals = ledger.totals().values()
        ledger.close()
        found = sum(one.requests for one in totals), sum(one.completion_tokens for one in totals)
        assert found[0] >= requests
        assert found[1] >= tokens
        assert found[0] - requests <= 9 * KILLS  # eight clients: what was written and not yet acknowledged
        requests, tokens = found
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
