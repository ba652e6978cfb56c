"""Server-sent events, as the OpenAI API frames them: `data: …`, a blank line, and `[DONE]` at the end."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from agent.engine.protocol import Delta, Failed, Finished
from agent.meter import Job
from agent.openai import ApiError, Shape

DONE = b"data: [DONE]\n\n"


def frame(body: Mapping[str, Any]) -> bytes:
    """One event. JSON has no raw line ends, so a body can never break out of its frame."""
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


async def streamed(job: Job, shape: Shape, *, wants_usage: bool) -> AsyncIterator[bytes]:
    """A job as a stream. The entry is on disk before the last frames are sent.

    A client that goes away ends this generator; the job is then abandoned, and still accounted for.
    """
    is_done = False
    try:
        if (first := shape.first()) is not None:
            yield frame(first)
        async for event in job.events():
            if isinstance(event, Delta):
                if event.text:
                    yield frame(shape.piece(event.text))
                job.delivered_tokens += event.tokens
            elif isinstance(event, Failed):
                await job.settle()
                is_done = True
                yield frame(ApiError(500, event.problem, "engine_failed").body())
            elif isinstance(event, Finished):
                await job.settle()
                is_done = True
                yield frame(shape.last(event.outcome))
                if wants_usage:
                    yield frame(shape.usage(event.usage))
        yield DONE
    finally:
        if not is_done:
            job.abandon()
