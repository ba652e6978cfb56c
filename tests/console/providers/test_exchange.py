"""Reads are asked again once, and a provider's clock is believed only where it is near ours."""

from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest
import stamina
from structlog.testing import capture_logs

from console.providers.exchange import ReadFailed, asked_twice, connection, provider_now
from store.clock import SetClock

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=2, cap=True):
        yield


async def answered(*statuses: int) -> tuple[httpx.Response, int]:
    """What comes of a read that is answered so, and how many of the answers were not needed."""
    left = list(statuses)
    transport = httpx.MockTransport(lambda _: httpx.Response(left.pop(0)))
    async with httpx.AsyncClient(transport=transport, base_url="http://provider") as client:
        return await asked_twice(lambda: client.get("/")), len(left)


async def test_a_5xx_is_asked_again_once() -> None:
    answer, unused = await answered(500, 200, 200)
    assert (answer.status_code, unused) == (200, 1)
    with pytest.raises(ReadFailed, match=r"^HTTP 503$"):
        await answered(500, 503)


async def test_a_4xx_is_an_answer() -> None:
    answer, unused = await answered(429, 200)
    assert (answer.status_code, unused) == (429, 1)


async def test_a_lost_connection_is_named() -> None:
    async with connection("http://127.0.0.1:1", {"api_key": "key"}) as client:
        with pytest.raises(ReadFailed, match=r"^no answer: ConnectError$"):
            await asked_twice(lambda: client.get("/"))


async def test_a_header_that_is_refused_is_not_in_the_log_with_its_key() -> None:
    async def ask() -> httpx.Response:
        raise httpx.LocalProtocolError("Illegal header value b'Bearer SECRET'")

    with capture_logs() as logs, pytest.raises(ReadFailed, match=r"^no answer: LocalProtocolError$"):
        await asked_twice(ask)
    assert "SECRET" not in str(logs)


def test_a_date_within_half_a_minute_is_the_providers_clock() -> None:
    answer = httpx.Response(200, headers={"Date": "Tue, 24 Nov 2026 08:00:30 GMT"})
    assert provider_now(answer, SetClock(NOW)) == datetime(2026, 11, 24, 8, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("date", "told", "apart_s"),
    [
        ("", "no readable Date", None),
        ("yesterday", "no readable Date", None),
        ("Tue, 24 Nov 2026 08:00:00 -0000", "no zone", None),
        ("Tue, 24 Nov 2026 08:00:31 GMT", "31 s away", 31),
    ],
)
def test_any_other_date_is_a_failed_read(date: str, told: str, apart_s: int | None) -> None:
    with pytest.raises(ReadFailed, match=told) as failed:
        provider_now(httpx.Response(200, headers={"Date": date}), SetClock(NOW))
    apart = failed.value.apart
    assert (None if apart is None else apart.total_seconds()) == apart_s
