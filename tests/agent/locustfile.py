"""What Locust asks of an agent: whole answers and streams, adding up the usage that it is told."""

import json
import os
from pathlib import Path
from typing import Any

from locust import FastHttpUser, constant, events, task

MODEL = os.environ["MTOK_MODEL"]
HEADERS = {"Authorization": f"Bearer {os.environ['MTOK_KEY']}"}
TOLD = {"requests": 0, "prompt_tokens": 0, "completion_tokens": 0}


class Client(FastHttpUser):  # type: ignore[misc]
    """Asks again as soon as it is answered."""

    wait_time = constant(0)

    @task
    def whole(self) -> None:
        """A chat."""
        with self._ask(
            "/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}], "n": 2}
        ) as answer:
            add(answer.json()["usage"])

    @task
    def stream(self) -> None:
        """A completion, as a stream."""
        wanted = {"prompt": "Once upon", "stream": True, "stream_options": {"include_usage": True}}
        with self._ask("/v1/completions", wanted) as answer:
            frames = [line for line in answer.text.split("\n\n") if line]
            if frames[-1] != "data: [DONE]":
                answer.failure("the stream was cut")
            add(json.loads(frames[-2].removeprefix("data: "))["usage"])

    def _ask(self, path: str, body: dict[str, Any]) -> Any:
        wanted = {"model": MODEL, "max_tokens": 8, **body}
        return self.client.post(path, json=wanted, headers=HEADERS, catch_response=True)


def add(usage: dict[str, Any]) -> None:
    TOLD["requests"] += 1
    for name in ("prompt_tokens", "completion_tokens"):
        TOLD[name] += usage[name]


@events.quitting.add_listener
def write(**_: Any) -> None:
    Path(os.environ["MTOK_TOLD"]).write_text(json.dumps(TOLD), encoding="utf-8")
