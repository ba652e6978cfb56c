"""What travels between the store's reader, the screens and their dialogs."""

from dataclasses import dataclass
from typing import Any

from textual.message import Message

from store.fleet_view import Fleet


@dataclass
class StoreRead(Message):
    """The store has been read: the fleet, and the answer to what the page called `page` asked."""

    fleet: Fleet
    page: str
    answer: Any

    def can_replace(self, message: Message) -> bool:
        """A newer reading stands for an older one that nobody has looked at."""
        return isinstance(message, StoreRead)


@dataclass
class StoreSilent(Message):
    """The store could not be read, and why, in one line."""

    problem: str


class Wanted(Message):
    """A screen's question is another now: ask it at once, not at the next second."""


@dataclass
class Said(Message):
    """The outcome of something that the engineer did, for the message line."""

    text: str
    is_problem: bool = False
