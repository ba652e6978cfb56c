"""A benchmark as lines of JSON: `{"progress": text}` for each step, then `{"result": ...}` or `{"error": ...}`."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing

from agent.bench import Bench, Progress
from agent.capacity import Capacity
from agent.errors import BenchStopped

NDJSON = "application/x-ndjson"


async def bench_lines(bench: Bench, capacity: Capacity) -> AsyncIterator[bytes]:
    """Run a benchmark, and keep its result if it is a capacity."""
    try:
        async with aclosing(bench.run()) as steps:
            async for step in steps:
                if isinstance(step, Progress):
                    yield _line("progress", step.text)
                    continue
                if step.not_kept is None:
                    capacity.keep(step)
                yield _line("result", step.body())
    except BenchStopped as error:
        yield _line("error", {"message": error.problem, "code": error.code})


def _line(what: str, body: object) -> bytes:
    return json.dumps({what: body}, ensure_ascii=False).encode() + b"\n"
