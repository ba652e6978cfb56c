"""What every adapter asks a provider with: a connection, reads that are asked again once, the provider's clock."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx
import stamina

from console.trust import trusted
from store.clock import Clock

_CLOCKS_APART = timedelta(seconds=30)
_TIMEOUT = httpx.Timeout(10.0, connect=5.0)


class ReadFailed(Exception):
    """A read that brought nothing, in one line.

    `apart`: because the clocks are so far apart; `status`: because of an answer of that status.
    """

    def __init__(self, problem: str, apart: timedelta | None = None, status: int | None = None) -> None:
        super().__init__(problem)
        self.apart, self.status = apart, status


def connection(base_url: str, headers: Mapping[str, str]) -> httpx.AsyncClient:
    """A client that sends `headers`, which hold a key, and that sends nothing twice by itself."""
    return httpx.AsyncClient(
        base_url=base_url,
        headers=headers,
        timeout=_TIMEOUT,
        transport=httpx.AsyncHTTPTransport(verify=trusted(), retries=0),
    )


async def asked_twice(ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """A read's answer, whatever its status below 500. Lost connections and 5xx are asked again once.

    Raises:
        ReadFailed: no answer, or 5xx twice.
    """
    stamina.instrumentation.set_on_retry_hooks([])  # its own log what was met, and h11 quotes a header with its key
    try:
        async for attempt in stamina.retry_context(
            on=(httpx.TransportError, httpx.HTTPStatusError), attempts=2, wait_initial=0.2, timeout=8
        ):
            with attempt:
                answer = await ask()
                if answer.is_server_error:
                    answer.raise_for_status()
    except httpx.HTTPStatusError as error:
        raise ReadFailed(f"HTTP {error.response.status_code}") from None
    except httpx.HTTPError as error:
        raise ReadFailed(f"no answer: {type(error).__name__}") from None
    return answer


def provider_now(answer: httpx.Response, clock: Clock) -> datetime:
    """The provider's clock, as an answer's `Date` states it.

    Raises:
        ReadFailed: there is no readable one, or it is too far from ours.
    """
    try:
        now = parsedate_to_datetime(answer.headers.get("Date", ""))
    except ValueError:
        raise ReadFailed("the answer has no readable Date") from None
    if now.tzinfo is None:
        raise ReadFailed("the answer's Date has no zone")
    apart = abs(now - clock.now())
    if apart > _CLOCKS_APART:
        raise ReadFailed(f"the provider's clock is {apart.total_seconds():.0f} s away from ours", apart)
    return now
