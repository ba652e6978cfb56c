"""Reading from RunPod over HTTP: one answer a question, its clock compared with ours, its rate limit obeyed."""

from collections.abc import Mapping
from datetime import datetime

import httpx

from console.providers.exchange import ReadFailed, asked_twice, connection, provider_now
from console.providers.runpod_limits import Quota
from store.clock import Clock


class Http:
    """The connection of one account. Nothing is sent twice but a read that was lost or answered 5xx, once."""

    def __init__(self, api_key: str, base_url: str, clock: Clock, client: httpx.AsyncClient | None) -> None:
        self._clock = clock
        self.quota = Quota(clock)
        self._http = client or connection(base_url, {"Authorization": f"Bearer {api_key}"})

    async def read(self, path: str, params: Mapping[str, str]) -> tuple[str, datetime]:
        """A read's text and the provider's clock.

        Raises:
            ReadFailed: no answer, an error, a clock apart, or nothing may be asked now.
        """
        answer = await self.get(path, params)
        if answer.is_error:
            raise ReadFailed(f"HTTP {answer.status_code}: {told(answer)}", status=answer.status_code)
        return answer.text, provider_now(answer, self._clock)

    async def get(self, path: str, params: Mapping[str, str]) -> httpx.Response:
        """A read's answer, whatever its status below 500.

        Raises:
            ReadFailed: no answer, 5xx twice, or nothing may be asked now.
        """
        return await asked_twice(lambda: self._get(path, params))

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
            raise ReadFailed(waits)
        answer = await self._http.get(path, params=params)
        self.quota.learn(answer.status_code, answer.headers)
        return answer


def told(answer: httpx.Response) -> str:
    """What a problem document says of itself, in a few words; the rest of a body is never repeated."""
    try:
        body = answer.json()
    except (ValueError, RecursionError):
        return "no problem document"
    if not isinstance(body, dict):
        return "no problem document"
    return str(body.get("detail") or body.get("title") or "")[:120]
