"""What providers and hosts say, of any kind: read, or a problem in one line; a store can hold what is read."""

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from console.errors import AgentUnreachable, HostStepFailed, HostUnreachable, ProviderError
from console.hosts.agent_client import AgentClient, AgentUsage, _fence_of
from console.providers.hyperstack_wire import body_of, usage_row, window_bills
from console.providers.wire import Unreadable, rows_of
from store.errors import AmountError

EXAMPLES = 10_000 if os.environ.get("MTOK_HYPOTHESIS") == "prove" else 40  # a client each
NAMES = (
    *(
        "resource_type",
        "resource_id",
        "resource_name",
        "total_incurred_bill",
        "incurred_bill",
        "rate",
        "create_time",
    ),
    *(
        "terminate_time",
        "active",
        "excluded",
        "metrics",
        "attributes",
        "resources",
        "data",
        "name",
        "status",
        "graph",
    ),
)
HOSTILE = "\0\ud800\x1b[31m\u202e"
READS: tuple[Callable[[Any], object], ...] = (
    lambda body: [usage_row(row) for row in rows_of(body, "data")],
    window_bills,
)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=9), inner, max_size=6)
    ),
    max_leaves=20,
)


def unreadable_or_read(text: str) -> None:
    for read in READS:
        try:
            read(body_of(text))
        except (Unreadable, AmountError):
            continue


@given(st.dictionaries(st.sampled_from(NAMES), anything, max_size=6))
def test_a_body_of_hyperstack_is_read_or_unreadable(body: dict[str, Any]) -> None:
    unreadable_or_read(json.dumps({"data": [body], **body, "status": True}))
    unreadable_or_read(json.dumps({**body, "status": True}))


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
@example("[" * 100_000)
@example(f'{{"status": true, "data": {"9" * 5000}}}')
def test_what_is_no_body_is_unreadable(text: str) -> None:
    unreadable_or_read(text)


class Said(httpx.AsyncBaseTransport):
    """An agent that says one thing."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=self._body, request=request)


COUNTS = (
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "delivered_tokens",
    "requests",
    "busy_ms",
    "in_flight",
)
GOOD: dict[str, Any] = {
    **dict.fromkeys(COUNTS, 1),
    "ledger": "a-b-c",
    "ledger_created_at": "2026-11-24T08:00:00Z",
    "nonce": "0" * 32,
    "last_token_at": None,
    "labels": {},
}
SAID = (*GOOD, "gpu", "capacity", "engine", "model", "version")


def heard(body: bytes) -> list[Any]:
    """Usage and status, where the client takes them."""

    async def ask() -> list[Any]:
        found: list[Any] = []
        async with AgentClient("a", "http://127.0.0.1:1", "secret", transport=Said(body)) as client:
            for question in (client.usage, client.status):
                try:
                    found.append(await question())
                except AgentUnreachable:
                    continue
        return found

    return asyncio.run(ask())


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.sampled_from(SAID), anything | st.integers(0, 2**70), max_size=3))
@example({"prompt_tokens": 2**63})
@example({"in_flight": 2**31})
@example({"ledger": "\0"})
@example({"ledger_created_at": "0001-01-01T00:00:00+14:00"})
@example({"model": HOSTILE, "engine": {"label": HOSTILE}, "labels": {HOSTILE: {"requests": 5}}})
@example({"labels": {f"mtok.{n}": {"prompt_tokens": 2**48 - 1} for n in range(99)}})
def test_whatever_a_stolen_host_says_a_store_can_hold_what_is_taken(said: dict[str, Any]) -> None:
    for answer in heard(json.dumps({**GOOD, **said}).encode()):
        repr(answer).encode()
        if isinstance(answer, AgentUsage):
            totals = answer.totals
            assert max(totals.prompt_tokens, totals.busy_ms, totals.reserved_prompt_tokens) < 2**63
            assert answer.in_flight < 2**31
            assert all(label.isprintable() for label in answer.labels)
            assert totals.created_at.astimezone().year
        else:
            assert f"{answer.engine}{answer.model}{answer.version}".isprintable()


@pytest.mark.parametrize(
    "body", [b"", b"[", b"[]", b"\xff", b'"x"', b"[" * 50_000, b'{"ledger": ' + b"9" * 5000 + b"}"]
)
def test_what_is_no_answer_of_an_agent_is_a_problem_in_one_line(body: bytes) -> None:
    assert [answer for answer in heard(body) if isinstance(answer, AgentUsage)] == []


@pytest.mark.parametrize(
    ("seq", "fence"),
    [([7, 1], 7), ([2**62, 1], 2**62), ([2**62 + 1, 1], 0), ([-1, 1], 0), (["7", 1], 0), ([1.5, 1], 0), (7, 0)],
)
def test_a_stolen_host_cannot_drive_leadership_to_the_end_of_the_numbers(seq: object, fence: int) -> None:
    assert _fence_of(httpx.Response(409, json={"seq": seq})) == fence


def test_an_error_that_quotes_others_is_one_harmless_line() -> None:
    for error in (
        ProviderError("cloud", "GET /x", HOSTILE * 900),
        AgentUnreachable("a", HOSTILE),
        HostUnreachable("a", HOSTILE, "look"),
        HostStepFailed("a", "packages", HOSTILE, "look"),
    ):
        assert str(error).isprintable()
        assert len(str(error)) < 1_200
