"""A simulated Vast.ai account for tests: its world, by whatever clock, and bodies written by hand."""

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx

from console.providers.protocol import Ref
from console.providers.vast import Vast
from store.clock import SetClock
from store.words import ResourceKind

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
BID = Ref(ResourceKind.INSTANCE, "8429")
WORLD: dict[str, Any] = {
    "instances": [
        {
            "id": 8429,
            "name": "h100-a",
            "flavor": "H100 spot",
            "gpu": "H100 SXM",
            "price_usd_per_hour": "2.00",
            "asleep_usd_per_hour": "0.0164",
            "bandwidth_usd_per_hour": "0.0371",
            "address": "127.0.0.1",
        },
        {"id": 8430, "name": "a100-a", "price_usd_per_hour": "1.35", "asleep_usd_per_hour": "0.02"},
    ],
    "volumes": [
        {"id": 5341, "name": "weights", "price_usd_per_hour": "0.0193548", "attached_to": 8429},
        {"id": 8429, "name": "same number as the instance", "price_usd_per_hour": "0.01"},
    ],
    "hibernate_s": 0,
    "restore_s": 0,
}


def scripted(answer: Callable[[httpx.Request], httpx.Response], **options: Any) -> Vast:
    """The adapter over answers written by hand."""
    client = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://vast")
    return Vast("cloud", "key", clock=SetClock(NOW), client=client, pause_s=0, **options)


def said(text: str, status: int = 200, date: str = format_datetime(NOW, usegmt=True)) -> httpx.Response:
    """One answer, with its `Date`."""
    return httpx.Response(status, text=text, headers={"Date": date})


def charges(*rows: str, token: str = "null") -> str:
    """A page of charges."""
    return f'{{"success": true, "count": {len(rows)}, "next_token": {token}, "results": [{", ".join(rows)}]}}'


def charge(amount: str = "38.421", source: str = "instance-1", **changes: str) -> str:
    """One contract's charge; it ended long ago unless `changes` say otherwise."""
    fields = {"source": f'"{source}"', "amount": amount, "type": '"instance"', "start": "1795500000", **changes}
    return "{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}"


def account(charged: str, instances: str = "", volumes: str = "") -> Callable[[httpx.Request], httpx.Response]:
    """Answers of an account: its charges, and the rows of its two lists."""

    def answer(request: httpx.Request) -> httpx.Response:
        if "charges" in request.url.path:
            return said(charged)
        if "volumes" in request.url.path:
            return said(f'{{"volumes": [{volumes}]}}')
        return said(f'{{"success": true, "next_token": null, "instances": [{instances}]}}')

    return answer
