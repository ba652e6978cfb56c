"""Rules become operations: what the gate demands is asked for as an engineer would ask, by the actor `gate`."""

from datetime import datetime, timedelta

import structlog
from sqlmodel import Session, col, select

from console.collector.tick import Collector, in_store
from store.gate import Verdict
from store.leader import check_fence
from store.operations import OperationKind, OperationOutcome, current, request, seen_state, why_not
from store.stops import must_sleep
from store.tables import OperationRow

log = structlog.get_logger()
ACTOR = "gate"
_LONGEST_PAUSE = timedelta(minutes=15)


class Rules:
    """Looks at the last verdict and asks for what follows from it, once at a time per tier."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._tiers = [tier.name for tier in collector.settings.tiers]

    async def apply(self, fence: int) -> None:
        """Ask for every hibernate that is due.

        Raises:
            FenceLost: another collector leads; it does this.
        """
        verdict = self._collector.verdict
        due = must_sleep(self._collector.policy, verdict, self._tiers) if verdict is not None else {}
        if verdict is not None and due:
            await in_store(self._ask, fence, verdict, due)

    def _ask(self, fence: int, verdict: Verdict, due: dict[str, str]) -> None:
        database, now = self._collector.database, self._collector.clock.now()
        with database.write() as session:
            check_fence(database, session, fence)
            for tier, why in due.items():
                if (
                    current(session, tier) is not None
                    or why_not(session, OperationKind.HIBERNATE, tier) is not None
                ):
                    continue
                if now < self._not_before(session, tier, now):
                    continue
                seen = seen_state(session, tier)
                request(session, now, OperationKind.HIBERNATE, tier, actor=ACTOR, reason=why, seen=seen)
                log.warning("hibernate demanded", tier=tier, why=why, reasons=list(verdict.reasons_for(tier)))

    def _not_before(self, session: Session, tier: str, now: datetime) -> datetime:
        """A demand that failed is made again after a pause, which doubles with every failure in a row."""
        query = select(OperationRow).where(OperationRow.tier == tier).order_by(col(OperationRow.id).desc())
        failures, last_at = 0, now
        for row in session.exec(query.limit(8)).all():
            if row.actor != ACTOR or row.outcome == OperationOutcome.DONE or row.finished_at is None:
                break
            last_at = row.finished_at if failures == 0 else last_at
            failures += 1
        if not failures:
            return now
        pause: timedelta = self._collector.settings.collector.every * 2 ** (failures - 1)
        return last_at + min(pause, _LONGEST_PAUSE)
