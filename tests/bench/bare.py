"""The floor: starlette and uvicorn with nothing behind them, or with one durable row a request.

`python -m tests.bench.bare PORT none|row DATABASE`. Also what a proxy is measured in front of.
"""

import asyncio
import json
import queue
import sqlite3
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

_TOKENS = 20
_HEAD = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": "null"}
_USAGE = {"prompt_tokens": 14, "completion_tokens": _TOKENS, "total_tokens": 14 + _TOKENS}
_MESSAGE = {"role": "assistant", "content": "a" * _TOKENS}
_WHOLE = {
    **_HEAD,
    "object": "chat.completion",
    "choices": [{"index": 0, "message": _MESSAGE, "finish_reason": "stop"}],
    "usage": _USAGE,
}
_SQL = "INSERT INTO rows VALUES (?, ?, 14, 20)"


def main(port: int, mode: str, database: str) -> None:
    """Serve until ended."""
    account = Rows(database).write if mode == "row" else _nothing
    app = Starlette(routes=[Route("/v1/chat/completions", _chat(account), methods=["POST"]), Route("/health", _ok)])
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="warning")


def _chat(account: Callable[[], Awaitable[None]]) -> Callable[[Request], Awaitable[Response]]:
    async def chat(request: Request) -> Response:
        body = json.loads(await request.body())
        if body.get("stream"):
            return StreamingResponse(_stream(account, int(body.get("max_tokens", _TOKENS))))
        await account()
        return JSONResponse(_WHOLE)

    return chat


async def _stream(account: Callable[[], Awaitable[None]], tokens: int) -> AsyncIterator[bytes]:
    for _ in range(tokens):
        yield _frame({"content": "a"}, None)
        await asyncio.sleep(0)
    await account()
    yield _frame({}, "stop")
    yield b"data: [DONE]\n\n"


def _frame(delta: dict[str, str], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {**_HEAD, "object": "chat.completion.chunk", "choices": [choice]}
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


async def _ok(_request: Request) -> Response:
    return Response(b"ok")


async def _nothing() -> None:
    pass


class Rows:
    """Group commit, and nothing more: whoever waits shares an fsync."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(
            "CREATE TABLE rows (at INTEGER, id TEXT PRIMARY KEY, prompt INTEGER, made INTEGER)"
        )
        self._queue: queue.SimpleQueue[asyncio.Future[None]] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    async def write(self) -> None:
        """One row, on disk."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put(done)
        await done

    def _run(self) -> None:
        while True:
            group = [self._queue.get()]
            while not self._queue.empty():
                group.append(self._queue.get())
            self._connection.execute("BEGIN")
            self._connection.executemany(_SQL, [(time.time_ns(), uuid.uuid4().hex) for _ in group])
            self._connection.execute("COMMIT")
            group[0].get_loop().call_soon_threadsafe(partial(_resolve, group))


def _resolve(group: list[asyncio.Future[None]]) -> None:
    for one in group:
        one.set_result(None)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
