"""Falls, steps and origins: what exact accounting remembers of a counter beside its totals.

Samples no longer hang on a row of `ticks`: a derived one lies between ticks, and ticks are thinned.
"""

import sqlalchemy as sa
from alembic import op
from sqlmodel.sql.sqltypes import UTCDateTime

revision = "0002"
down_revision = "0001"

_BILLS = "counter_id, at, total_nusd, debits_nusd, raw, as_of_at, rate_nusd_per_hour"
_USAGE = (
    "ledger_id, at, prompt_tokens, cached_tokens, completion_tokens, delivered_tokens, requests, busy_ms, "
    "reserved_prompt_tokens, reserved_completion_tokens"
)


def upgrade() -> None:
    """Add them."""
    for column in (
        sa.Column("moved_at", UTCDateTime(), nullable=True),
        sa.Column("steps", sa.String(), nullable=True),
        sa.Column("vanished_at", UTCDateTime(), nullable=True),
        sa.Column("unsettled_at", UTCDateTime(), nullable=True),
    ):
        op.add_column("bill_counters", column)
    op.create_table(
        "bill_samples_new",
        sa.Column("counter_id", sa.Integer(), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("total_nusd", "debits_nusd")),
        sa.Column("raw", sa.String(), nullable=False),
        sa.Column("as_of_at", UTCDateTime(), nullable=False),
        sa.Column("rate_nusd_per_hour", sa.BigInteger(), nullable=True),
        sa.Column("fell_at", UTCDateTime(), nullable=True),
        sa.Column("origin", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["counter_id"], ["bill_counters.id"]),
        sa.PrimaryKeyConstraint("counter_id", "at"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "usage_samples_new",
        sa.Column("ledger_id", sa.Integer(), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _USAGE.split(", ")[2:]),
        sa.ForeignKeyConstraint(["ledger_id"], ["ledgers.id"]),
        sa.PrimaryKeyConstraint("ledger_id", "at"),
        sqlite_with_rowid=False,
    )
    for table, columns in (("bill_samples", _BILLS), ("usage_samples", _USAGE)):
        op.execute(f"INSERT INTO {table}_new ({columns}) SELECT {columns} FROM {table}")  # noqa: S608 - our own names
        op.drop_table(table)
        op.rename_table(f"{table}_new", table)
    # debits count from our first look: what a counter opened with was billed before it
    op.execute(
        "UPDATE bill_samples SET debits_nusd = debits_nusd - (SELECT CASE WHEN c.opening_nusd > 0 "
        "THEN c.opening_nusd ELSE 0 END FROM bill_counters c WHERE c.id = bill_samples.counter_id)"
    )
