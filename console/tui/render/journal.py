"""The journal: an entry a row, and one entry whole."""

import re
from collections.abc import Sequence
from datetime import UTC
from ipaddress import ip_address

from console.tui.cells import Role, Row, Span, line
from console.tui.render.figures import UNKNOWN, money
from console.tui.render.flow import flowed
from console.tui.render.lists import day_time, lasted
from console.tui.render.status import wrapped
from console.tui.table import Column, Entry
from store.anatomy import Anatomy
from store.journal_read import Entry as JournalEntry
from store.phases import OperationKind
from store.printable import printable
from store.unknown import Unknown

COLUMNS = (
    Column("when", "WHEN", 15, is_number=False),
    Column("who", "WHO", 10, is_number=False, rank=2, stretches=True),
    Column("from", "FROM", 14, is_number=False, rank=3, stretches=True),
    Column("what", "WHAT", 17, is_number=False, stretches=True),
    Column("subject", "SUBJECT", 11, is_number=False, stretches=True),
    Column("detail", "REASON, OUTCOME", 17, is_number=False, rank=1, stretches=True),
)
_CHANGES = frozenset({"verdict", "tier changed", "provider changed"})
"""What is journaled as `before → after`, and after a colon why."""
_TROUBLE = ("failed", "refused", "not_applied", "not delivered", "unasked", "jumped", "yielded")
_NAME_WIDTH = 10
_COUNTER = re.compile(r"\w+:(?:usage:|charges:)?(.+?)(?::hour)?:(?:\d{4}-\d\d-\d\dT\S+|gte=\d\S*)")
"""A bill's counter: its provider, what is billed, and the instant that it counts from, as the providers name it."""


def who_from(actor: str) -> tuple[str, str]:
    """Who, and the address that they came from; empty where they sat at the machine, or are none of flesh."""
    user, _, address = actor.rpartition("@")
    try:
        ip_address(address)
    except ValueError:
        return actor, ""
    return user, address


def brief(subject: str) -> str:
    """What tells subjects apart where there is little room: of a counter its kind and resource, else all of it."""
    found = _COUNTER.fullmatch(subject)
    return subject if found is None else found[1]


def entry_row(entry: JournalEntry) -> Entry:
    """An entry as a row."""
    who, address = who_from(entry.actor)
    subject = brief(entry.subject)
    texts = {"who": who, "from": address, "what": entry.what, "subject": subject, "detail": entry.detail}
    cells = {key: printable(" ".join(text.splitlines())) for key, text in texts.items()}
    is_trouble = any(word in entry.what for word in _TROUBLE)
    return Entry(str(entry.id), {"when": day_time(entry.at), **cells}, role=Role.WARN if is_trouble else Role.PLAIN)


def operation_of(entry: JournalEntry) -> tuple[OperationKind, str] | None:
    """The kind and the tier of the operation that an entry is about."""
    word = entry.what.partition(" ")[0]
    kind = OperationKind.HIBERNATE if word in ("sleep", "hibernate") else None
    kind = OperationKind.WAKE if word == "wake" else kind
    return None if kind is None else (kind, entry.subject.partition("/")[0])


def operation_at(entry: JournalEntry, found: Sequence[Anatomy]) -> Anatomy | None:
    """Which of a tier's operations, newest first, an entry belongs to."""
    return next((one for one in found if one.requested_at <= entry.at), None)


def detail_rows(entry: JournalEntry, operation: Anatomy | None, width: int) -> list[Row]:
    """An entry whole: who, from where, what was before, what came after, why; and the operation it belongs to."""
    who, address = who_from(entry.actor)
    head = f"{entry.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC  {printable(entry.what)}: {printable(entry.subject)}"
    rows: list[Row] = [line(f" {part}", Role.STRONG) for part in wrapped(head, width - 1)]
    rows += _labelled("who", f"{who} from {address}" if address else who, width)
    before, arrow, rest = entry.detail.partition(" → ")
    if arrow and entry.what in _CHANGES:
        after, _, why = rest.partition(": ")
        rows += _labelled("before", before, width) + _labelled("after", after, width)
        rows += _labelled("why", why, width) if why else []
    elif entry.detail:
        rows += _labelled("why" if entry.what.endswith("asked") else "detail", entry.detail, width)
    return rows if operation is None else [*rows, line(""), *operation_rows(operation, width)]


def operation_rows(operation: Anatomy, width: int) -> list[Row]:
    """How an operation came out, what it cost, and when each phase was reached."""
    took = operation.took
    outcome = f"under way: {operation.phase}" if took is None else f"{operation.outcome} after {lasted(took)}"
    rows = [line(f" {operation.kind.upper()} of {printable(operation.tier)}", Role.HEADING)]
    rows += _labelled("outcome", f"{outcome}: {operation.detail}" if operation.detail else outcome, width)
    rows += _labelled("asked by", operation.actor, width)
    if operation.reason:
        rows += _labelled("reason", operation.reason, width)
    cost = operation.cost
    billed = (
        f"{UNKNOWN} ({cost.reason})"
        if isinstance(cost, Unknown)
        else f"{money(cost.nusd, cost.currency)} billed meanwhile"
    )
    rows += _labelled("cost", f"{billed}; {operation.calls} call{'' if operation.calls == 1 else 's'} sent", width)
    return [*rows, *flowed([f"{one.phase} +{lasted(one.took)}" for one in operation.reached], width)]


def _labelled(label: str, text: str, width: int) -> list[Row]:
    first, *more = wrapped(text, width - _NAME_WIDTH - 1)
    head = (Span(f" {label:<{_NAME_WIDTH}}", Role.MUTED), Span(first))
    return [head, *(line(f"{' ' * (_NAME_WIDTH + 1)}{rest}") for rest in more)]
