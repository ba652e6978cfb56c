"""Single entries are forgotten by age and by number, once an hour; the totals keep them all."""

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from agent.errors import LedgerUnwritable
from agent.ledger import Ledger
from agent.settings import Retention

log = structlog.get_logger()
_EVERY_S = 3600.0


async def keep_thinning(ledger: Ledger, retention: Retention) -> None:
    """Forget what is over, now and every hour."""
    while True:
        before = datetime.now(UTC) - timedelta(days=retention.days)
        try:
            gone = await ledger.forget(before, retention.entries)
        except LedgerUnwritable as error:
            log.error("entries not forgotten", problem=str(error))
        else:
            if gone:
                log.info("entries forgotten", entries=gone)
        await asyncio.sleep(_EVERY_S)
