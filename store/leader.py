"""Who leads: one row with an expiry by the database's clock and a fence that only rises."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import String, text
from sqlmodel import Session, col, delete, select, update
from sqlmodel.sql.sqltypes import UTCDateTime

from store.database import Database
from store.errors import FenceLost
from store.journal import note
from store.tables import Candidate, Leadership

_YIELDS_FOR = timedelta(minutes=10)  # two collectors whose provider is down must not hand the lead to and fro
_FORGOTTEN_AFTER = timedelta(hours=1)
_MOST_TTLS = 10  # a longer lead was dated by a clock that has been set back since; settings may differ somewhat
# PostgreSQL: nobody waits for a row longer than with SQLite, and the server ends the transaction of a leader that
# has stopped or lost its power; none of ours thinks for so long between two statements
_PATIENCE = {"lock": "5s", "idle": "15s"}
_LIMITED = text(
    "SELECT set_config('lock_timeout', :lock, true), set_config('idle_in_transaction_session_timeout', :idle, true)"
)
_LED = text("SELECT owner, expires_at FROM leadership WHERE id = 1").columns(owner=String, expires_at=UTCDateTime)


def acquire(database: Database, owner: str, ttl_s: float) -> int | None:
    """Take or keep the lead for `ttl_s` seconds; answers the fence, or None while another leads.

    The holder keeps its fence; a new holder gets the next one. A time that ends too far ahead to be true is over:
    should its holder live, the fence keeps it off. Whoever asks is a candidate for as long; one that has yielded
    takes the lead back only when no other candidate is there.
    """
    with database.write() as session:
        _limit(database, session)
        now = database.now(session)
        expires_at = now + timedelta(seconds=ttl_s)
        candidate = session.get(Candidate, owner) or Candidate(owner=owner, expires_at=expires_at)
        candidate.expires_at = expires_at
        session.add(candidate)
        row = session.get(Leadership, 1, with_for_update=True)
        if row is None:
            session.add(Leadership(owner=owner, fence=1, expires_at=expires_at))
            return 1
        is_false = row.owner != owner and row.expires_at - now > timedelta(seconds=_MOST_TTLS * ttl_s)
        is_free = row.expires_at <= now or is_false
        if not is_free and row.owner != owner:
            return None
        if is_free and _has_yielded(candidate, now) and _others(session, owner, now):
            return None
        if is_free or row.owner != owner:
            row.fence += 1
        row.owner, row.expires_at = owner, expires_at
        return row.fence


def yield_lead(database: Database, owner: str, fence: int) -> str | None:
    """Give the lead to any other candidate that has not just given it away; answers one, or None without any.

    For a leader whose ticks are incomplete: its own network may be at fault.

    Raises:
        FenceLost: another collector leads already.
    """
    with database.write() as session:
        check_fence(database, session, fence)
        now = database.now(session)
        heirs = [one.owner for one in _others(session, owner, now) if not _has_yielded(one, now)]
        if not heirs:
            return None
        candidate = session.get_one(Candidate, owner)
        candidate.yielded_at = now
        session.get_one(Leadership, 1).expires_at = now
        note(session, now, "collector", "lead yielded", "leadership", f"{owner}: two incomplete ticks in a row")
        return heirs[0]


def _others(session: Session, owner: str, now: datetime) -> Sequence[Candidate]:
    """Who else could lead now; forgets who has not asked for long."""
    forgotten = delete(Candidate).where(col(Candidate.expires_at) < now - _FORGOTTEN_AFTER)
    session.connection().execute(forgotten)
    return session.exec(select(Candidate).where(Candidate.owner != owner, Candidate.expires_at > now)).all()


def _has_yielded(candidate: Candidate, now: datetime) -> bool:
    return candidate.yielded_at is not None and now - candidate.yielded_at < _YIELDS_FOR


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
        _limit(database, session)
        row = session.get(Leadership, 1, with_for_update=True)
        candidate = session.get(Candidate, owner)
        if row is not None and row.owner == owner:
            row.expires_at = database.now(session)
        if candidate is not None:
            session.delete(candidate)


def check_fence(database: Database, session: Session, fence: int) -> None:
    """Refuse to write for a leader whose time is over; locks the row for this transaction.

    Raises:
        FenceLost: another collector leads, or our time has run out.
    """
    _limit(database, session)
    now = database.now(session)
    still = (
        update(Leadership)
        .where(col(Leadership.id) == 1, col(Leadership.fence) == fence, col(Leadership.expires_at) > now)
        .values(fence=fence)
    )
    if session.connection().execute(still).rowcount != 1:
        raise FenceLost(fence)


def _limit(database: Database, session: Session) -> None:
    """Bound this transaction, since it is to lock the row; readers, copies and migrations are not concerned."""
    if database.engine.dialect.name == "postgresql":
        session.connection().execute(_LIMITED, _PATIENCE)


def leader(database: Database, session: Session) -> tuple[str, datetime] | None:
    """Who leads now and until when; None when nobody does."""
    row = session.connection().execute(_LED).one_or_none()
    if row is None or row.expires_at <= database.now(session):
        return None
    return row.owner, row.expires_at
