"""From what an account holds to tiers: one an instance that runs or sleeps, with the volumes on it."""

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from console.providers.protocol import Resource
from console.setup.account import Found
from store.words import IGNORED, UNASSIGNED, Market, State

_LONGEST = 31  # a tier's name in the settings
_TAKEN = frozenset({UNASSIGNED, IGNORED})
_PROPOSED = frozenset({State.STARTING, State.RUNNING, State.SLEEPING, State.ASLEEP, State.WAKING})


@dataclass(frozen=True, slots=True)
class Agent:
    """How an agent is reached: by SSH, or at `control_url`. `secret_file` as the settings shall write it."""

    name: str
    secret_file: Path
    ssh_user: str | None = None
    ssh_port: int | None = None
    control_url: str | None = None


@dataclass(frozen=True, slots=True)
class Proposed:
    """One tier to be. `about`: what the provider says of it, for a comment and for a person."""

    name: str
    instance: str
    volumes: tuple[str, ...]
    market: Market
    about: str
    agent: Agent | None = None


def propose(found: Found) -> tuple[Proposed, ...]:
    """The tiers that this account suggests, in the provider's order; each name is new, and safe in any file."""
    tiers: list[Proposed] = []
    names: set[str] = set()
    for one in found.instances:
        if one.state not in _PROPOSED or not one.ref.id.isprintable():  # settings hold no control characters
            continue
        name = tier_name(one.name, one.ref.id, names)
        names.add(name)
        volumes = tuple(volume.ref.id for volume in _attached(found, one))
        market = Market.SPOT if one.spot_hint else Market.ON_DEMAND
        tiers.append(Proposed(name, one.ref.id, volumes, market, printable(f"{one.name} ({one.raw_state})")))
    return tuple(tiers)


def _attached(found: Found, instance: Resource) -> list[Resource]:
    return [one for one in found.volumes if one.attached_to == instance.ref.id and one.ref.id.isprintable()]


def left_out(found: Found, tiers: Collection[Proposed]) -> tuple[Resource, ...]:
    """What no tier names: it is watched all the same, as `unassigned`."""
    instances = {tier.instance for tier in tiers}
    volumes = {id_ for tier in tiers for id_ in tier.volumes}
    left = [one for one in found.instances if one.ref.id not in instances]
    return (*left, *(one for one in found.volumes if one.ref.id not in volumes))


def renamed(tier: Proposed, name: str) -> Proposed:
    """The same tier under a name that somebody has chosen."""
    return replace(tier, name=name)


def tier_name(given: str, id_: str, taken: Collection[str]) -> str:
    """A tier's name from the one that a provider gives, whatever letters are in it."""
    base = slug(given) or slug(f"tier-{id_}") or "tier"
    if base in _TAKEN:
        base = f"tier-{base}"[:_LONGEST].rstrip("-")
    name, number = base, 2
    while name in taken:
        name = f"{base[: _LONGEST - 1 - len(str(number))].rstrip('-')}-{number}"
        number += 1
    return name


def slug(text: str) -> str:
    """Small letters, digits and single dashes, beginning with a letter or a digit; may be empty."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:_LONGEST].rstrip("-")


def printable(text: str) -> str:
    """Text of a provider's in one line that no terminal and no file can mistake."""
    return "".join(char if char.isprintable() else "?" for char in text)[:120]
