"""What travels between the store's reader, the screen and its dialogs."""

from dataclasses import dataclass

from textual.message import Message

from store.fleet import Fleet


@dataclass
class FleetRead(Message):
    """The store has been read."""

    fleet: Fleet

    def can_replace(self, message: Message) -> bool:
        """A newer reading stands for an older one that nobody has looked at."""
        return isinstance(message, FleetRead)


@dataclass
class StoreSilent(Message):
    """The store could not be read, and why, in one line."""

    problem: str


@dataclass
class Said(Message):
    """The outcome of something that the engineer did, for the message line."""

    line: str
    is_problem: bool = False
