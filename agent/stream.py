"""Server-sent events, as the OpenAI API frames them: `data: …`, a blank line, and `[DONE]` at the end."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from agent.engine.protocol import Delta, Failed, Finished
from agent.meter import Job
from agent.openai import ApiError, Shape

DONE = b"data: [DONE]\n\n"


def frame(body: Mapping[str, Any]) -> bytes:
    """One event. JSON has no raw line ends, so a body can never break out of its frame."""
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


async def streamed(job: Job, shape: Shape, *, wants_usage: bool) -> AsyncIterator[bytes]:
    """A job as a stream. The entry is on disk before the last frames are sent.

    Releasing the job is `JobResponse`'s part.
    """
    if (first := shape.first()) is not None:
        yield frame(first)
    async for event in job.events():
        if isinstance(event, Delta):
            if event.text:
                yield frame(shape.piece(event.text))
            job.delivered_tokens += event.tokens
        elif isinstance(event, Failed):
            await job.settle()
            yield frame(ApiError(500, event.problem, "engine_failed").body())
        elif isinstance(event, Finished):
            await job.settle()
            yield frame(shape.last(event.outcome))
            if wants_usage:
                yield frame(shape.usage(event.usage))
    yield DONE


class JobResponse(StreamingResponse):
    """A job's stream as an answer. However the exchange ends, even before its first byte, the job is released."""

    def __init__(self, job: Job, shape: Shape, *, wants_usage: bool) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        frames = streamed(job, shape, wants_usage=wants_usage)
        super().__init__(frames, media_type="text/event-stream", headers=headers)
        self._job = job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._job.abandon()  # a generator that was never begun has no `finally` of its own
