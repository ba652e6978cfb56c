"""What the ledger is made of: counts, and entries with counts."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from agent.engine.protocol import Outcome, Usage


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests and tokens, as the engine counted them.

    `completion_tokens` were generated, `delivered_tokens` of them reached the client. `cached_tokens` are some of
    the prompt's. `suppressed_tokens` were sampled and taken back, `draft_tokens` proposed by a draft and
    accepted: both say how completion tokens came about, neither adds to them.
    """

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    delivered_tokens: int = 0
    suppressed_tokens: int = 0
    draft_tokens: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(mine + its for mine, its in zip(self.values(), other.values(), strict=True)))

    @classmethod
    def of_usage(cls, usage: Usage) -> "Counts":
        """One request's, as its engine states them; nothing is delivered yet."""
        return cls(
            1,
            usage.prompt_tokens,
            usage.cached_tokens,
            usage.completion_tokens,
            0,
            usage.suppressed_tokens,
            usage.draft_tokens,
        )

    def values(self) -> tuple[int, ...]:
        """The numbers, in the order of the ledger's columns."""
        return (
            self.requests,
            self.prompt_tokens,
            self.cached_tokens,
            self.completion_tokens,
            self.delivered_tokens,
            self.suppressed_tokens,
            self.draft_tokens,
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """A request as the ledger keeps it; without an `outcome` it still runs."""

    id: str
    label: str
    endpoint: str
    model: str
    started_at: datetime
    counts: Counts
    outcome: Outcome | None = None
    ended_at: datetime | None = None

    @property
    def day(self) -> str:
        """The UTC day that an ended entry is counted on."""
        return (self.ended_at or self.started_at).date().isoformat()

    def row(self, counted_at: str) -> tuple[object, ...]:
        """Its columns; `counted_at` is the instant of this writing."""
        ended_at = self.ended_at.isoformat() if self.ended_at else None
        outcome = self.outcome.value if self.outcome else ""
        head = (self.id, self.label, self.endpoint, self.model, self.started_at.isoformat(), ended_at, outcome)
        return (*head, counted_at, *self.counts.values()[1:])


def newest_of_each(entries: Iterable[Entry]) -> dict[str, Entry]:
    """By id, the last word on each request: nothing overtakes an entry that has ended."""
    found: dict[str, Entry] = {}
    for entry in entries:
        known = found.get(entry.id)
        if known is None or known.outcome is None:
            found[entry.id] = entry
    return found
