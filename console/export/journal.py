"""The journal as a table, page by page, in constant memory however long it is."""

from collections.abc import Callable, Iterator, Sequence

from store.clock import rfc3339
from store.journal_read import Entry

COLUMNS = ("id", "at", "actor", "what", "subject", "detail")


def journal_rows(older_than: Callable[[int | None], Sequence[Entry]]) -> Iterator[list[str]]:
    """Rows of `COLUMNS`, newest first. `older_than` gives the next entries before an id, none at the end."""
    page = older_than(None)
    while page:
        for one in page:
            yield [str(one.id), rfc3339(one.at), one.actor, one.what, one.subject, one.detail]
        page = older_than(page[-1].id)
