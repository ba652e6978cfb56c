"""What an account holds, read once with the key that is being tried. Nothing is changed there."""

import asyncio
import re
import time
from dataclasses import dataclass
from pathlib import Path

from console.collector.sources import ask_provider
from console.errors import ProviderError
from console.providers.protocol import BillReading, Resource
from console.providers.registry import Opening, Options, ProviderKind
from store.clock import SystemClock
from store.words import ResourceKind

_WITHIN_S = 30.0
_REFUSED = re.compile(r"\b(401|403)\b|unauthori|forbidden|api key|auth_error", re.IGNORECASE)
_NO_ANSWER = re.compile(r"no answer|connect|resolv|timed? ?out", re.IGNORECASE)
_CLOCK = re.compile(r"clock", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Found:
    """An account: its resources, how many bill counters it has, and the currencies that they are in.

    `rates`: nano-units an hour, currency.
    """

    instances: tuple[Resource, ...]
    volumes: tuple[Resource, ...]
    rates: dict[tuple[ResourceKind, str], tuple[int, str]]
    counters: int
    currencies: frozenset[str]

    def rate(self, resource: Resource) -> tuple[int, str] | None:
        """What the provider quotes for it, per hour."""
        return self.rates.get((resource.ref.kind, resource.ref.id))


def look(kind: ProviderKind, key: str, base_url: str, options: Options, folder: Path) -> Found:
    """Read the account's inventory and bills.

    Raises:
        ProviderError: they were not all read; it says what is likely and what to do, and never shows the key.
    """
    opening = Opening(
        name=kind.kind, key=key, base_url=base_url, options=options, clock=SystemClock(), folder=folder
    )
    return asyncio.run(_look(kind, opening))


async def _look(kind: ProviderKind, opening: Opening) -> Found:
    provider = kind.open(opening)
    try:
        answer = await ask_provider(provider, (), _WITHIN_S, time.monotonic)
    finally:
        await provider.close()
    problems = (*answer.inventory.problems, *answer.bills.problems)
    if problems and not opening.base_url:
        raise ProviderError(kind.title, "reading", _printable(problems[0]), "mend that; nothing was written")
    if problems:
        raise ProviderError(kind.title, f"reading the account at {opening.base_url}", *_explained(problems))
    items = answer.inventory.items
    return Found(
        instances=tuple(one for one in items if one.ref.kind is ResourceKind.INSTANCE),
        volumes=tuple(one for one in items if one.ref.kind is ResourceKind.VOLUME),
        rates=_rates(answer.bills.items),
        counters=len(answer.bills.items),
        currencies=frozenset(one.currency for one in answer.bills.items),
    )


def _rates(bills: tuple[BillReading, ...]) -> dict[tuple[ResourceKind, str], tuple[int, str]]:
    return {
        (one.ref.kind, one.ref.id): (one.rate_nusd_per_hour, one.currency)
        for one in bills
        if one.rate_nusd_per_hour is not None and one.active
    }


def _explained(problems: tuple[str, ...]) -> tuple[str, str]:
    """The problem that says most, in printable letters, and what to do about it."""
    remedies = (
        (
            _REFUSED,
            "the key was refused: copy it again from the provider's own console, with rights to read billing",
        ),
        (_CLOCK, "set this machine's clock: timedatectl set-ntp true"),
        (_NO_ANSWER, "check the network, HTTPS_PROXY, and --base-url"),
    )
    for pattern, remedy in remedies:
        for problem in problems:
            if pattern.search(problem):
                return _printable(problem), f"{remedy}; nothing was written"
    return _printable(problems[0]), "try again, or see the provider's status page; nothing was written"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)[:300]
