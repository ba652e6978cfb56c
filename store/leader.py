"""Who leads: one row with an expiry by the database's clock and a fence that only rises."""

from datetime import datetime, timedelta

from sqlmodel import Session, col, update

from store.database import Database
from store.errors import FenceLost
from store.journal import note
from store.tables import Leadership


def acquire(database: Database, owner: str, ttl_s: float) -> int | None:
    """Take or keep the lead for `ttl_s` seconds; answers the fence, or None while another leads.

    The holder keeps its fence; a new holder gets the next one.
    """
    with database.write() as session:
        now = database.now(session)
        row = session.get(Leadership, 1)
        expires_at = now + timedelta(seconds=ttl_s)
        if row is None:
            session.add(Leadership(owner=owner, fence=1, expires_at=expires_at))
            return 1
        if row.expires_at > now and row.owner != owner:
            return None
        if row.expires_at <= now or row.owner != owner:
            row.fence += 1
        row.owner, row.expires_at = owner, expires_at
        return row.fence


def raise_fence(database: Database, fence: int, seen: int, now: datetime) -> None:
    """Lift our fence above one that agents have `seen` of a store that is lost; the leader goes on with it.

    Raises:
        FenceLost: another collector leads: it is theirs that agents have seen.
    """
    with database.write() as session:
        check_fence(database, session, fence)
        row = session.get_one(Leadership, 1)
        row.fence = seen + 1
        detail = f"agents hold leases with fence {seen}, of a store that was lost; ours was {fence}"
        note(session, now, "collector", "fence raised", "leadership", detail)


def release(database: Database, owner: str) -> None:
    """Step down, so that another may lead at once."""
    with database.write() as session:
        row = session.get(Leadership, 1)
        if row is not None and row.owner == owner:
            row.expires_at = database.now(session)


def check_fence(database: Database, session: Session, fence: int) -> None:
    """Refuse to write for a leader whose time is over; locks the row for this transaction.

    Raises:
        FenceLost: another collector leads, or our time has run out.
    """
    now = database.now(session)
    still = (
        update(Leadership)
        .where(col(Leadership.id) == 1, col(Leadership.fence) == fence, col(Leadership.expires_at) > now)
        .values(fence=fence)
    )
    if session.connection().execute(still).rowcount != 1:
        raise FenceLost(fence)


def leader(database: Database, session: Session) -> tuple[str, datetime] | None:
    """Who leads now and until when; None when nobody does."""
    row = session.get(Leadership, 1)
    if row is None or row.expires_at <= database.now(session):
        return None
    return row.owner, row.expires_at
