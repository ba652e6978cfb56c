"""Asking Vast.ai: reads that are asked again, pages that end, actions that are sent once.

Source: https://docs.vast.ai (2026-08-07). Its limits are a least interval per endpoint and caller; a 429 may be
plain text without `Retry-After`. So each endpoint is asked one thing at a time, and only a further page waits.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx

from console.providers.exchange import ReadFailed, asked_twice, connection, provider_now
from console.providers.vast_wire import body_of, line_of, next_token, told
from console.providers.wire import Unreadable, rows_of
from store.clock import Clock

_MOST_PAGES = 200
_PATIENCE = 3
_PAUSE_S = 2.0  # the thresholds are not published; error texts name 1 to 5.5 s


@dataclass(frozen=True, slots=True)
class Pages:
    """Every row of a list, each with the provider's clock when it was stated; and why some may be missing."""

    rows: tuple[tuple[Any, datetime], ...]
    problem: str | None = None
    apart: timedelta | None = None
    provider_now: datetime | None = None


class VastHttp:
    """One key's connection."""

    def __init__(
        self,
        api_key: str,
        base_url: str,
        clock: Clock,
        client: httpx.AsyncClient | None = None,
        pause_s: float = _PAUSE_S,
    ) -> None:
        self._clock, self._pause_s = clock, pause_s
        self._http = client or connection(base_url, {"Authorization": f"Bearer {api_key}"})

    async def pages(self, path: str, params: Mapping[str, str], field: str) -> Pages:
        """Every row of `field`, page after page; a cursor that comes again ends it with a problem."""
        rows: list[tuple[Any, datetime]] = []
        seen: set[str] = set()
        token, now = None, None
        for page in range(1, _MOST_PAGES + 1):
            query = {**params, "after_token": token} if token else params
            try:
                text, now = await self.read(path, query, is_further=page > 1)
                body = body_of(text)
                rows += [(row, now) for row in rows_of(body, field)]
                token = next_token(body)
            except ReadFailed as error:
                return Pages(tuple(rows), f"{path}: page {page}: {error}", error.apart, now)
            except Unreadable as error:
                return Pages(tuple(rows), f"{path}: page {page}: {error}", None, now)
            if token is None:
                return Pages(tuple(rows), provider_now=now)
            if token in seen:
                return Pages(tuple(rows), f"{path}: page {page}: its next_token leads back", None, now)
            seen.add(token)
        return Pages(tuple(rows), f"{path}: more than {_MOST_PAGES} pages", None, now)

    async def read(self, path: str, params: Mapping[str, str], *, is_further: bool = False) -> tuple[str, datetime]:
        """A read's text and the provider's clock.

        Raises:
            ReadFailed: there is no answer, or an error, or no believable `Date`.
        """
        answer = await self.get(path, params, is_further=is_further)
        if answer.is_error:
            raise ReadFailed(refusal(answer))
        return answer.text, provider_now(answer, self._clock)

    async def get(self, path: str, params: Mapping[str, str], *, is_further: bool = False) -> httpx.Response:
        """A read's answer. Lost connections and 5xx are asked again once, a further page after a 429 thrice.

        Raises:
            ReadFailed: there is no answer, or a 5xx.
        """
        answer = await self._get(path, params)
        for _ in range(_PATIENCE if is_further else 0):
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                break
            await asyncio.sleep(self._pause_s)
            answer = await self._get(path, params)
        return answer

    async def put(self, path: str, body: Mapping[str, str]) -> httpx.Response:
        """Send an action, once.

        Raises:
            httpx.HTTPError: its answer is lost.
        """
        return await self._http.put(path, json=dict(body))

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def _get(self, path: str, params: Mapping[str, str]) -> httpx.Response:
        return await asked_twice(lambda: self._http.get(path, params=params))


def refusal(answer: httpx.Response) -> str:
    """An error in one line; its body is JSON of several shapes, or plain text."""
    try:
        body = answer.json()
        words = told(body) if isinstance(body, dict) else ""
    except (ValueError, RecursionError):
        words = line_of(answer.text)
    return f"HTTP {answer.status_code}: {words}" if words else f"HTTP {answer.status_code}"
