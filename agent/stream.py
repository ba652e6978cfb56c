"""An answer as server-sent events: `data: …`, a blank line, and `[DONE]` at the end."""

from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from agent.answers import DONE, Shape, failed, frame
from agent.disconnect import UntilGone
from agent.engine.protocol import Delta, Event, Finished
from agent.job import Job

PING_S = 15.0  # a proxy that hears nothing for a minute closes
PING = b": ping\n\n"  # a comment to whoever reads server-sent events


async def streamed(job: Job, shape: Shape, ping_s: float = PING_S) -> AsyncIterator[tuple[bytes, int]]:
    """A job as bytes to send at once, each with the tokens that it delivers.

    Whatever has come together is sent together. The entry is on disk before the last frames are sent. Releasing
    the job is `JobResponse`'s part.
    """
    yield shape.first(), 0
    events: list[Event] = []
    async for events in job.batches(ping_s):
        data, tokens = _rendered(job, shape, events)
        if data or tokens or not events:
            yield data if events else PING, tokens
    await job.settle()
    if job.failure is not None:
        yield shape.usage(job.usage) + frame(failed(job.failure).body()) + DONE, 0
        return
    ends = [shape.last(job.index(event), event.outcome) for event in events if isinstance(event, Finished)]
    yield b"".join((*ends, shape.usage(job.usage), DONE)), 0


def _rendered(job: Job, shape: Shape, events: list[Event]) -> tuple[bytes, int]:
    """The frames of events, and their tokens. The ends in the last batch wait for the entry."""
    frames, tokens = [], 0
    for event in events:
        if isinstance(event, Delta):
            frames.append(shape.piece(job.index(event), event.text, event.choices))
            tokens += event.tokens
        elif isinstance(event, Finished) and not job.is_ended:
            frames.append(shape.last(job.index(event), event.outcome))
    return b"".join(frames), tokens


class JobResponse(StreamingResponse):
    """A job's stream as an answer. However the exchange ends, even before its first byte, the job is released."""

    def __init__(self, job: Job, shape: Shape, ping_s: float = PING_S) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__((), media_type="text/event-stream", headers=headers)
        self._job, self._shape, self._ping_s = job, shape, ping_s

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; a client that goes away ends the job at once."""
        try:
            async with UntilGone(receive):
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                async for data, tokens in streamed(self._job, self._shape, self._ping_s):
                    if data:
                        await send({"type": "http.response.body", "body": data, "more_body": True})
                    self._job.delivered_tokens += tokens
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (ClientDisconnect, OSError):  # nobody is there to be told
            pass
        finally:
            self._job.abandon()
