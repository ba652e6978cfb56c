"""Counters: what each held at an edge. One index seek a counter and edge, however long the history."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Integer,
    Row,
    Select,
    Subquery,
    TextualSelect,
    bindparam,
    column,
    func,
    select,
    text,
)
from sqlalchemy.orm import aliased
from sqlmodel import Session, col
from sqlmodel import select as model_select
from sqlmodel.sql.sqltypes import UTCDateTime

from store.money import USD
from store.tables import BillCounter, BillSample, Ledger, UsageSample
from store.words import IGNORED

USAGE_FIELDS = (
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "delivered_tokens",
    "requests",
    "busy_ms",
    "reserved_prompt_tokens",
    "reserved_completion_tokens",
)
Totals = tuple[int, ...]

_AT_ONCE = 100  # SQLite takes 500 terms of a compound select
_COUNTS = f"tier != '{IGNORED}'"
Item = TypeVar("Item")


class LedgerAt(NamedTuple):
    """A ledger's last sample at or before an edge. `is_newborn`: it was born under our eyes.

    `totals` are in `USAGE_FIELDS`; `capacity_per_ks` is its agent's, None where it was not known then.
    """

    tier: str
    agent: str
    is_newborn: bool
    at: datetime
    capacity_per_ks: int | None
    totals: Totals


def batched(items: Sequence[Item]) -> list[Sequence[Item]]:
    """`items` in parts that one statement can take."""
    return [items[begin : begin + _AT_ONCE] for begin in range(0, len(items), _AT_ONCE)]


def edges_table(count: int) -> Subquery:
    """`count` instants as rows (k, at), to join with; their values are the parameters `at0`, `at1`, …

    As text: SQLAlchemy takes a tenth of a millisecond to compile a SELECT, which a console's start would wait for.
    """
    rows = text(" UNION ALL ".join(f"SELECT {k} AS k, :at{k} AS at" for k in range(count)))
    typed = rows.bindparams(*(bindparam(f"at{k}", type_=UTCDateTime) for k in range(count)))
    return typed.columns(k=Integer, at=UTCDateTime).subquery("edges")


def instants(edges: Sequence[datetime]) -> dict[str, datetime]:
    """The parameters of `edges_table`."""
    return {f"at{k}": edge for k, edge in enumerate(edges)}


def bill_rows(session: Session, tiers: Sequence[str], edges: Sequence[datetime]) -> Sequence[Row[Any]]:
    """The bill counters of `tiers`, in the order in which we met them, each with its total at every edge.

    `edges`, oldest first. Of the counters that had ended before the first one, and so stand still over all of them,
    only each tier's newest. Columns: those of `_COUNTER`, then `edge0`, `edge1`, …: nano-dollars, None where no
    sample is that old.
    """
    found = session.connection().execute(_bill_totals(len(edges)), {"tiers": tiers, **instants(edges)})
    return found.all()


_COUNTER = (
    "id", "tier", "counter", "currency", "opening_nusd", "first_seen_at", "unsettled_at", "moved_at", "steps",
    "final_at",
)  # fmt: skip


@cache
def _bill_totals(edges: int) -> TextualSelect:
    ended = "SELECT max(id) FROM bill_counters WHERE tier IN :tiers AND final_at < :at0 GROUP BY tier"
    ids = f"{_may_move('tier IN :tiers')} UNION ALL {ended}"
    return _at_edges(_COUNTER, "total_nusd", edges, ids, bindparam("tiers", expanding=True))


def debits_at(session: Session, edges: Sequence[datetime]) -> Sequence[Row[Any]]:
    """The counters that count, by their columns, with their debits at each of `edges`: `edge0`, `edge1`, …

    `edges`, oldest first. One that had ended before the first of them is left out: it has no debits between them.
    """
    return session.connection().execute(_debits_at(len(edges)), instants(edges)).all()


@cache
def _debits_at(edges: int) -> TextualSelect:
    names = ("id", "tier", "counter", "currency", "first_seen_at", "unsettled_at")
    return _at_edges(names, "debits_nusd", edges, _may_move(_COUNTS))


def _may_move(which: str) -> str:
    """The ids of the counters for which `which` holds, without those that had ended before `at0`.

    No sample of a counter is later than its `final_at`. A part each, for the index that each has.
    """
    parts = ("final_at IS NULL", "final_at >= :at0", "unsettled_at IS NOT NULL")
    return " UNION ALL ".join(f"SELECT id FROM bill_counters WHERE {part} AND {which}" for part in parts)  # noqa: S608 - our own names


def _at_edges(names: Sequence[str], field: str, edges: int, ids: str, *values: BindParameter[Any]) -> TextualSelect:
    """The counters `ids` by their columns `names`, and as `edge0`, … `field` of each one's last sample by then.

    The parameters `at0`, `at1`, … say when. As text: see `edges_table`.
    """
    newest = (
        f"(SELECT {field} FROM bill_samples WHERE counter_id = bill_counters.id AND at <= :at{{0}}"  # noqa: S608 - our own names
        " ORDER BY at DESC LIMIT 1) AS edge{0}"
    )
    said = ", ".join([*names, *(newest.format(k) for k in range(edges))])
    rows = text(f"SELECT {said} FROM bill_counters WHERE id IN ({ids}) ORDER BY id")  # noqa: S608 - our own names
    instants = (bindparam(f"at{k}", type_=UTCDateTime) for k in range(edges))
    at_edges = (column(f"edge{k}", BigInteger) for k in range(edges))
    return rows.bindparams(*instants, *values).columns(*(getattr(BillCounter, name) for name in names), *at_edges)


class SumAt(NamedTuple):
    """What all counters of one tier in one currency held, less what they opened with, and their debits."""

    tier: str
    currency: str
    total_nusd: int
    debits_nusd: int


def sums_at(session: Session, tiers: Sequence[str], edge: datetime) -> Sequence[SumAt]:
    """The sums at `edge` over every counter of `tiers` ever, however long ago it ended: by the database itself."""
    found = session.connection().execute(_sums(), {"tiers": tiers, "edge": edge})
    return [SumAt(tier, currency, int(total), int(debits)) for tier, currency, total, debits in found]


@cache
def _sums() -> Select[Any]:
    by = [getattr(BillCounter, name) for name in ("tier", "currency")]
    held = func.sum(BillSample.total_nusd - BillCounter.opening_nusd)
    return (
        select(*by, held, func.sum(BillSample.debits_nusd))
        .join(BillSample, is_last(BillSample, bindparam("edge", type_=UTCDateTime)))
        .where(col(BillCounter.tier).in_(bindparam("tiers", expanding=True)))
        .group_by(*by)
    )


def unsettled_at(session: Session, tiers: Sequence[str], edge: datetime) -> Mapping[str, tuple[int, str, datetime]]:
    """By tier, the first counter that was unsettled at `edge`: its id, its identity, and since when."""
    query = select(*(getattr(BillCounter, name) for name in ("tier", "id", "counter", "unsettled_at")))
    query = query.where(col(BillCounter.tier).in_(tiers), col(BillCounter.unsettled_at) <= edge)
    rows = session.connection().execute(query.order_by(col(BillCounter.id).desc()))
    return {tier: (id_, counter, at) for tier, id_, counter, at in rows}


def not_ended(at: datetime, which: ColumnElement[bool], *more: Select[int]) -> ColumnElement[bool]:
    """Whether a bill counter, of those for which `which` holds, goes on, or went on after `at`; or is of `more`.

    As ids: together with `which` in one condition, all that ever ended would be read.
    """
    final_at, ids = col(BillCounter.final_at), select(col(BillCounter.id)).where(which).correlate(None)
    return col(BillCounter.id).in_(ids.where(final_at.is_(None)).union_all(ids.where(final_at > at), *more))


def is_last(sample: type[BillSample], at: datetime | BindParameter[datetime]) -> ColumnElement[bool]:
    """Whether `sample` is its bill counter's last at or before `at`."""
    older = aliased(BillSample)
    newest = select(func.max(older.at)).where(col(older.counter_id) == BillCounter.id, col(older.at) <= at)
    is_its = col(sample.counter_id) == BillCounter.id
    return is_its & (col(sample.at) == newest.correlate(BillCounter).scalar_subquery())


def samples_of(
    session: Session, which: ColumnElement[bool] | bool, at: datetime
) -> Sequence[tuple[BillCounter, BillSample | None]]:
    """The bill counters for which `which` holds and that were known at `at`, each with its last sample by then."""
    query = model_select(BillCounter, BillSample).outerjoin(BillSample, is_last(BillSample, at))
    query = query.where(which, BillCounter.first_seen_at <= at)
    return session.exec(query.order_by(col(BillCounter.id))).all()


def usage_rows(
    session: Session, tiers: Sequence[str], edges: Sequence[datetime]
) -> Sequence[Mapping[int, LedgerAt]]:
    """At every edge, by ledger, what it said last."""
    found = session.connection().execute(_usage_totals(len(edges)), {"tiers": tiers, **instants(edges)})
    at_edge: list[dict[int, LedgerAt]] = [{} for _ in edges]
    for k, ledger, tier, agent, is_newborn, at, capacity, *totals in found:
        at_edge[k][ledger] = LedgerAt(tier, agent, is_newborn, at, capacity, tuple(totals))
    return at_edge


@cache
def _usage_totals(edges: int) -> Select[Any]:
    asked, older = edges_table(edges), aliased(UsageSample)
    newest = (
        select(func.max(older.at))
        .where(col(older.ledger_id) == Ledger.id, col(older.at) <= asked.c.at)
        .correlate(Ledger, asked)
        .scalar_subquery()
    )
    of_ledger = [getattr(Ledger, name) for name in ("id", "tier", "agent", "is_newborn")]
    of_sample = [getattr(UsageSample, name) for name in ("at", "capacity_per_ks", *USAGE_FIELDS)]
    return (
        select(asked.c.k, *of_ledger, *of_sample)
        .select_from(asked)
        .join(Ledger, col(Ledger.tier).in_(bindparam("tiers", expanding=True)))
        .join(UsageSample, (col(UsageSample.ledger_id) == Ledger.id) & (col(UsageSample.at) == newest))
    )


class LedgerFirst(NamedTuple):
    """A ledger's oldest sample, at `at`; it goes on from `since`, which is earlier where its totals had fallen."""

    agent: str
    since: datetime
    at: datetime
    totals: Totals


def first_totals(session: Session, ledgers: Collection[int]) -> Mapping[int, LedgerFirst]:
    """By ledger, its oldest sample."""
    found: dict[int, LedgerFirst] = {}
    for some in batched(sorted(ledgers)):
        rows = session.connection().execute(_first_totals(), {"ledgers": some})
        found |= {id_: LedgerFirst(agent, since, at, tuple(totals)) for id_, agent, since, at, *totals in rows}
    return found


@cache
def _first_totals() -> Select[Any]:
    older = aliased(UsageSample)
    first = select(func.min(older.at)).where(col(older.ledger_id) == Ledger.id).correlate(Ledger).scalar_subquery()
    of_ledger = (col(Ledger.id), col(Ledger.agent), col(Ledger.first_seen_at))
    return (
        select(*of_ledger, *(getattr(UsageSample, name) for name in ("at", *USAGE_FIELDS)))
        .join(UsageSample, (col(UsageSample.ledger_id) == Ledger.id) & (col(UsageSample.at) == first))
        .where(col(Ledger.id).in_(bindparam("ledgers", expanding=True)))
    )


def bill_at(session: Session, counter_id: int, edge: datetime) -> BillSample | None:
    """A counter's last sample at or before `edge`."""
    query = model_select(BillSample).where(BillSample.counter_id == counter_id, BillSample.at <= edge)
    return session.exec(query.order_by(col(BillSample.at).desc()).limit(1)).first()


def bill_after(session: Session, counter_id: int, edge: datetime) -> BillSample | None:
    """A counter's first sample after `edge`."""
    query = model_select(BillSample).where(BillSample.counter_id == counter_id, BillSample.at > edge)
    return session.exec(query.order_by(col(BillSample.at)).limit(1)).first()


def first_bill(session: Session, counter_id: int) -> BillSample | None:
    """A counter's oldest sample: what it held when we first saw it."""
    query = model_select(BillSample).where(BillSample.counter_id == counter_id)
    return session.exec(query.order_by(col(BillSample.at)).limit(1)).first()


def last_bill(session: Session, counter_id: int) -> BillSample | None:
    """A counter's newest sample."""
    query = model_select(BillSample).where(BillSample.counter_id == counter_id)
    return session.exec(query.order_by(col(BillSample.at).desc()).limit(1)).first()


def usage_sample_at(session: Session, ledger_id: int, edge: datetime) -> UsageSample | None:
    """A ledger's last sample at or before `edge`."""
    query = model_select(UsageSample).where(UsageSample.ledger_id == ledger_id, UsageSample.at <= edge)
    return session.exec(query.order_by(col(UsageSample.at).desc()).limit(1)).first()


def first_usage(session: Session, ledger_id: int) -> UsageSample | None:
    """A ledger's oldest sample."""
    query = model_select(UsageSample).where(UsageSample.ledger_id == ledger_id)
    return session.exec(query.order_by(col(UsageSample.at)).limit(1)).first()


def counters_of(session: Session, tier: str | None) -> Sequence[BillCounter]:
    """The bill counters of one tier, or of all, in the order in which we met them."""
    query = model_select(BillCounter).order_by(col(BillCounter.id))
    return session.exec(query if tier is None else query.where(BillCounter.tier == tier)).all()


def currency_of(session: Session, tier: str) -> str:
    """In which currency a tier is billed: its newest counter's; dollars while there is none."""
    query = model_select(BillCounter.currency).where(BillCounter.tier == tier)
    return session.exec(query.order_by(col(BillCounter.id).desc()).limit(1)).first() or USD


def currencies_of(session: Session) -> dict[str, str]:
    """By tier, in which currency it is billed: its newest counter's."""
    newest = model_select(func.max(BillCounter.id)).group_by(col(BillCounter.tier))
    rows = session.exec(model_select(BillCounter.tier, BillCounter.currency).where(col(BillCounter.id).in_(newest)))
    return dict(rows.all())


def ledgers_of(session: Session, tier: str) -> Sequence[Ledger]:
    """The ledgers of one tier, in the order in which we met them."""
    return session.exec(model_select(Ledger).where(Ledger.tier == tier).order_by(col(Ledger.id))).all()


def watched_counters(session: Session, provider: str) -> Sequence[str]:
    """The identities of a provider's counters that may still move, or be found again."""
    query = model_select(BillCounter.counter)
    query = query.where(BillCounter.provider == provider, col(BillCounter.final_at).is_(None))
    return session.exec(query).all()
