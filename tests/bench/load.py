"""A load generator on loopback: keep-alive connections that ask again as soon as they are answered.

`python -m tests.bench.load PORT CONNECTIONS SECONDS KEY BODY` prints one line of JSON. A stream's gaps are those
between arrivals of data that carry a token.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from functools import partial

import uvloop

_WARM_S = 0.5


@dataclass
class Seen:
    """What the connections saw, once warm."""

    from_s: float
    until_s: float
    whole_s: list[float] = field(default_factory=list)
    first_s: list[float] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    tokens: int = 0
    errors: int = 0
    sent: int = 0


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, message: bytes, seen: Seen, done: "asyncio.Future[None]") -> None:
        self._message, self._seen, self._done = message, seen, done

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._seen.errors += exc is not None or time.perf_counter() < self._seen.until_s
            self._done.set_result(None)

    def _ask(self) -> None:
        self._asked_s = time.perf_counter()
        if self._asked_s > self._seen.until_s:
            self._transport.close()
            return
        self._buffer, self._length, self._last_s = b"", -1, 0.0
        self._seen.sent += 1
        self._transport.write(self._message)

    def data_received(self, data: bytes) -> None:
        now_s = time.perf_counter()
        if self._length < 0:
            self._buffer += data
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            self._seen.errors += not head.startswith(b"HTTP/1.1 200")
            lower = head.lower()
            at = lower.find(b"content-length:")
            self._length = 0 if at < 0 else int(lower[at + 15 :].split(b"\r\n")[0])
            self._buffer, data = b"", rest
        if self._length:
            self._buffer += data
            if len(self._buffer) >= self._length:
                self._end(now_s)
            return
        self._stream(data, now_s)

    def _stream(self, data: bytes, now_s: float) -> None:
        tokens = data.count(b'"content":"a') + data.count(b'"content": "a')
        is_warm = self._asked_s >= self._seen.from_s
        if tokens and is_warm:
            if self._last_s:
                self._seen.gaps_s.append(now_s - self._last_s)
            else:
                self._seen.first_s.append(now_s - self._asked_s)
        if tokens:
            self._last_s = now_s
        if self._seen.from_s <= now_s <= self._seen.until_s:
            self._seen.tokens += tokens
        tail = (self._buffer + data)[-64:]
        self._buffer = tail
        if tail.endswith(b"0\r\n\r\n"):
            self._seen.errors += b"[DONE]" not in tail
            self._end(now_s)

    def _end(self, now_s: float) -> None:
        if self._asked_s >= self._seen.from_s:
            self._seen.whole_s.append(now_s - self._asked_s)
        self._ask()


async def load(port: int, connections: int, seconds: float, key: str, body: str) -> dict[str, float]:
    """Ask for so long, and say how it went: times in milliseconds."""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    now_s = time.perf_counter()
    seen = Seen(now_s + _WARM_S, now_s + _WARM_S + seconds)
    loop = asyncio.get_running_loop()
    ends = [loop.create_future() for _ in range(connections)]
    message = (head + body).encode()
    for end in ends:
        await loop.create_connection(partial(Client, message, seen, end), "127.0.0.1", port)
    await asyncio.wait(ends, timeout=seconds + 60)
    return {
        "sent": seen.sent,
        "requests_per_s": len(seen.whole_s) / seconds,
        "tokens_per_s": seen.tokens / seconds,
        "p50_ms": quantile(seen.whole_s, 0.5),
        "p95_ms": quantile(seen.whole_s, 0.95),
        "first_p50_ms": quantile(seen.first_s, 0.5),
        "gap_p99_ms": quantile(seen.gaps_s, 0.99),
        "gap_most_ms": quantile(seen.gaps_s, 1.0),
        "errors": seen.errors,
    }


def quantile(values: list[float], part: float) -> float:
    """A quantile of seconds, in milliseconds."""
    ordered = sorted(values)
    return round(ordered[min(int(part * len(ordered)), len(ordered) - 1)] * 1000, 3) if ordered else 0.0


if __name__ == "__main__":
    port, connections, seconds, key, body = sys.argv[1:]
    print(json.dumps(uvloop.run(load(int(port), int(connections), float(seconds), key, body))))
