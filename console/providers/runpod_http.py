"""Reading from RunPod over HTTP: one answer a question, its clock compared with ours, its rate limit obeyed."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx
import stamina

from console.providers.runpod_limits import Quota
from store.clock import Clock

_CLOCKS_APART = timedelta(seconds=30)
_TIMEOUT = httpx.Timeout(10.0, connect=5.0)


class Failed(Exception):
    """A read that brought nothing, in one line; `apart`: because the clocks are so far apart."""

    def __init__(self, problem: str, status: int | None = None, apart: timedelta | None = None) -> None:
        super().__init__(problem)
        self.status, self.apart = status, apart


class Http:
    """The connection of one account. Nothing is sent twice but a read that was lost or answered 5xx, once."""

    def __init__(self, api_key: str, base_url: str, clock: Clock, client: httpx.AsyncClient | None) -> None:
        self._clock = clock
        self.quota = Quota(clock)
        self._http = client or httpx.AsyncClient(
            base_url=base_url,
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=_TIMEOUT,
            transport=httpx.AsyncHTTPTransport(retries=0),
        )

    async def read(self, path: str, params: Mapping[str, str]) -> tuple[str, datetime]:
        """A read's text and the provider's clock.

        Raises:
            Failed: no answer, an error, a clock apart, or nothing may be asked now.
        """
        answer = await self.get(path, params)
        if answer.is_error:
            raise Failed(f"HTTP {answer.status_code}: {told(answer)}", answer.status_code)
        return answer.text, self._provider_now(answer)

    async def get(self, path: str, params: Mapping[str, str]) -> httpx.Response:
        """A read's answer, whatever its status below 500.

        Raises:
            Failed: no answer, 5xx twice, or nothing may be asked now.
        """
        try:
            async for attempt in stamina.retry_context(
                on=(httpx.TransportError, httpx.HTTPStatusError), attempts=2, wait_initial=0.2, timeout=8
            ):
                with attempt:
                    answer = await self._get(path, params)
                    if answer.is_server_error:
                        answer.raise_for_status()
        except httpx.HTTPStatusError as error:
            raise Failed(f"HTTP {error.response.status_code}") from None
        except httpx.HTTPError as error:
            raise Failed(f"no answer: {type(error).__name__}") from None
        return answer

    async def send(self, path: str, body: Mapping[str, str]) -> httpx.Response:
        """The answer to an action, which is sent once.

        Raises:
            httpx.HTTPError: it was sent, and the answer is lost.
        """
        answer = await self._http.post(path, json=body)
        self.quota.learn(answer.status_code, answer.headers)
        return answer

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def _get(self, path: str, params: Mapping[str, str]) -> httpx.Response:
        waits = self.quota.problem
        if waits is not None:
            raise Failed(waits)
        answer = await self._http.get(path, params=params)
        self.quota.learn(answer.status_code, answer.headers)
        return answer

    def _provider_now(self, answer: httpx.Response) -> datetime:
        try:
            now = parsedate_to_datetime(answer.headers.get("Date", ""))
        except ValueError:
            raise Failed("the answer has no readable Date") from None
        if now.tzinfo is None:
            raise Failed("the answer's Date has no zone")
        apart = abs(now - self._clock.now())
        if apart > _CLOCKS_APART:
            raise Failed(f"the provider's clock is {apart.total_seconds():.0f} s away from ours", apart=apart)
        return now


def told(answer: httpx.Response) -> str:
    """What a problem document says of itself, in a few words; the rest of a body is never repeated."""
    try:
        body = answer.json()
    except (ValueError, RecursionError):
        return "no problem document"
    if not isinstance(body, dict):
        return "no problem document"
    return str(body.get("detail") or body.get("title") or "")[:120]
