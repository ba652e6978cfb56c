"""The control API under bodies, headers and paths of any kind; and a stream that carries any text."""

import asyncio
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from agent.answers import DONE, Shape
from agent.control import Control
from agent.engine.null import NullEngine
from agent.lease import LeaseBook
from agent.ledger import Ledger
from agent.machine import this_machine
from agent.meter import Meter
from agent.scheduler import Scheduler
from agent.server import _app
from store.clock import SystemClock

SECRET = "the control secret"
EXAMPLES = 10_000 if os.environ.get("MTOK_HYPOTHESIS") == "prove" else 40  # a call of the server each
calls = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
ENDPOINTS = ("usage", "lease", "status", "metrics", "probe", "bench", "", "usage/", "..%2fusage", "lease?a=1")
ALMOST = ("Bearer", "Bearer ", f"Basic {SECRET}", SECRET, f"Bearer {SECRET[:-1]}", f"Bearer {SECRET}\u00e9")

texts = st.text(max_size=12)
numbers = st.integers() | st.sampled_from([2**63, -(2**63), 10**400]) | st.floats()
values = st.recursive(
    texts | numbers | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
)
leases_wanted = st.fixed_dictionaries(
    {},
    optional={
        "nonce": values,
        "seq": values | st.tuples(numbers, numbers).map(list),
        "ttl_s": values,
        "verdict": values | st.sampled_from(["open", "closed"]),
        "reasons": values,
    },
)


class Controlled:
    """The control API of an agent without a socket, in a loop of its own."""

    def __init__(self, home: Path, runner: asyncio.Runner) -> None:
        self._runner = runner
        self.leases = LeaseBook(SystemClock())
        self.ledger = Ledger(home / "ledger.db")
        self.scheduler = Scheduler(lambda: NullEngine(max_batch=2, step_ms=1))
        self._http = runner.run(self._start())

    async def _start(self) -> httpx.AsyncClient:
        await self.scheduler.start()
        meter = Meter(self.ledger, self.scheduler, self.leases, max_in_flight_s=60)
        control = Control("a", "null", meter, self.leases, SECRET, this_machine(self.ledger.path))
        transport = httpx.ASGITransport(_app(control.routes()), raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://agent")

    def call(self, method: str, path: str, authorization: bytes, content: str | bytes) -> httpx.Response:
        headers = {b"Authorization": authorization}
        return self._runner.run(self._http.request(method, f"/control/{path}", headers=headers, content=content))

    def stop(self) -> None:
        self._runner.run(self._http.aclose())
        self.scheduler.stop()
        self.ledger.close()


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controlled]:
    with asyncio.Runner() as runner:
        one = Controlled(tmp_path_factory.mktemp("controlled"), runner)
        yield one
        one.stop()


@calls
@given(
    st.sampled_from(["GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"]),
    st.sampled_from(ENDPOINTS),
    st.text(max_size=40) | st.sampled_from(ALMOST),
    st.binary(max_size=99),
)
def test_nobody_without_the_secret_learns_or_changes_anything(
    control: Controlled, method: str, path: str, credentials: str, body: bytes
) -> None:
    header = re.sub(rb"[\r\n\0]", b"", credentials.encode("utf-8", errors="replace"))
    answer = control.call(method, path, header, body)
    assert answer.status_code in (307, 401, 404, 405)
    assert control.ledger.uuid not in answer.text
    assert control.leases.lease is None


@calls
@given(
    st.sampled_from([("PUT", "lease"), ("POST", "probe"), ("POST", "bench")]),
    leases_wanted.map(json.dumps) | texts.map(lambda text: text.encode("utf-8", "replace")) | st.binary(),
)
@example(("PUT", "lease"), f'{{"nonce":"n","seq":[{"9" * 4000},1],"verdict":"open","ttl_s":9}}')
@example(("PUT", "lease"), "[" * 5000)
@example(("PUT", "lease"), b" " * 70_000)
def test_a_body_with_the_secret_is_taken_or_refused_and_never_a_failure(
    control: Controlled, place: tuple[str, str], body: str | bytes
) -> None:
    assume(body not in ("", b"", "{}", b"{}"))  # a benchmark with every default is a long one
    answer = control.call(*place, f"Bearer {SECRET}".encode(), body)
    assert answer.status_code in (400, 409, 413), answer.text
    assert answer.json()
    assert control.leases.lease is None  # no nonce of ours was echoed


def events(data: bytes) -> list[str]:
    """What a reader of server-sent events hears (WHATWG HTML, "Parsing an event stream")."""
    heard: list[str] = []
    lines: list[str] = []
    for line in re.split(r"\r\n|\r|\n", data.decode()):
        if line.startswith("data:"):
            lines.append(line.removeprefix("data:").removeprefix(" "))
        elif not line and lines:
            heard.append("\n".join(lines))
            lines = []
    return heard


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5), st.booleans())
@example(["a\nb", "data: [DONE]\n\n", "\r\r", "\0", "\u2028\u2029\x85", "event: x\r\n"], True)
def test_a_stream_carries_every_text_to_whoever_reads_events(pieces: list[str], is_chat: bool) -> None:
    shape = Shape(chat=is_chat, request_id="r", model="m", choices=1)
    *bodies, end = events(b"".join(shape.piece(0, piece, ()) for piece in pieces) + DONE)
    assert end == "[DONE]"
    choices: list[Any] = [json.loads(body)["choices"][0] for body in bodies]
    assert "".join(one["delta"]["content"] if is_chat else one["text"] for one in choices) == "".join(pieces)
