"""The first tables."""

import sqlalchemy as sa
from alembic import op
from sqlmodel.sql.sqltypes import UTCDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "agents",
        sa.Column("agent", sa.String(), nullable=False),
        sa.Column("tier", sa.String(), nullable=False),
        sa.Column("seen_at", UTCDateTime(), nullable=True),
        sa.Column("problem", sa.String(), nullable=True),
        sa.Column("in_flight", sa.Integer(), nullable=False),
        sa.Column("last_token_at", UTCDateTime(), nullable=True),
        sa.Column("engine", sa.String(), nullable=False),
        sa.Column("lease_open", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("agent"),
    )
    op.create_table(
        "allowances",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("day", sa.String(), nullable=False),
        sa.Column("amount_nusd", sa.BigInteger(), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_allowances_day", "allowances", ["day"], unique=False)

    op.create_table(
        "bill_counters",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("counter", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("resource_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("tier", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("started_at", UTCDateTime(), nullable=True),
        sa.Column("first_seen_at", UTCDateTime(), nullable=False),
        sa.Column("opening_nusd", sa.BigInteger(), nullable=False),
        sa.Column("excluded", sa.Boolean(), nullable=False),
        sa.Column("final_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("provider", "counter"),
    )
    op.create_index("ix_bill_counters_tier", "bill_counters", ["tier"], unique=False)

    op.create_table(
        "journal",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "leadership",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "ledgers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("tier", sa.String(), nullable=False),
        sa.Column("agent", sa.String(), nullable=False),
        sa.Column("first_seen_at", UTCDateTime(), nullable=False),
        sa.Column("is_newborn", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uuid", "created_at"),
    )
    op.create_index("ix_ledgers_tier", "ledgers", ["tier"], unique=False)

    op.create_table(
        "operations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("tier", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("seen", sa.String(), nullable=False),
        sa.Column("requested_at", UTCDateTime(), nullable=False),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("phase_at", UTCDateTime(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("finished_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_operations_open", "operations", ["finished_at", "tier"], unique=False)

    op.create_table(
        "resources",
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("resource_id", sa.String(), nullable=False),
        sa.Column("tier", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("raw_state", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("rate_nusd_per_hour", sa.BigInteger(), nullable=True),
        sa.Column("can_sleep", sa.Boolean(), nullable=False),
        sa.Column("can_wake", sa.Boolean(), nullable=False),
        sa.Column("sleep_bills", sa.String(), nullable=False),
        sa.Column("sleep_loses", sa.String(), nullable=False),
        sa.Column("seen_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("provider", "kind", "resource_id"),
    )
    op.create_table(
        "ticks",
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("at"),
    )
    op.create_table(
        "verdicts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("reasons", sa.String(), nullable=False),
        sa.Column("debits_today_nusd", sa.BigInteger(), nullable=True),
        sa.Column("limit_nusd", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "bill_samples",
        sa.Column("counter_id", sa.Integer(), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.Column("total_nusd", sa.BigInteger(), nullable=False),
        sa.Column("debits_nusd", sa.BigInteger(), nullable=False),
        sa.Column("raw", sa.String(), nullable=False),
        sa.Column("as_of_at", UTCDateTime(), nullable=False),
        sa.Column("rate_nusd_per_hour", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["at"],
            ["ticks.at"],
        ),
        sa.ForeignKeyConstraint(
            ["counter_id"],
            ["bill_counters.id"],
        ),
        sa.PrimaryKeyConstraint("counter_id", "at"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "gaps",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.Column("problem", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["at"],
            ["ticks.at"],
        ),
        sa.PrimaryKeyConstraint("source", "at"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "operation_phases",
        sa.Column("operation_id", sa.Integer(), nullable=False),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["operation_id"],
            ["operations.id"],
        ),
        sa.PrimaryKeyConstraint("operation_id", "phase"),
    )
    op.create_table(
        "provider_ticks",
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("problem", sa.String(), nullable=True),
        sa.Column("latency_ms", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["at"],
            ["ticks.at"],
        ),
        sa.PrimaryKeyConstraint("provider", "at"),
    )
    op.create_index("ix_provider_ticks_complete", "provider_ticks", ["provider", "complete", "at"], unique=False)

    op.create_table(
        "tier_ticks",
        sa.Column("tier", sa.String(), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("problem", sa.String(), nullable=True),
        sa.Column("running_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["at"],
            ["ticks.at"],
        ),
        sa.PrimaryKeyConstraint("tier", "at"),
    )
    op.create_index("ix_tier_ticks_complete", "tier_ticks", ["tier", "complete", "at"], unique=False)

    op.create_table(
        "usage_samples",
        sa.Column("ledger_id", sa.Integer(), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("delivered_tokens", sa.BigInteger(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("busy_ms", sa.BigInteger(), nullable=False),
        sa.Column("reserved_prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("reserved_completion_tokens", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["at"],
            ["ticks.at"],
        ),
        sa.ForeignKeyConstraint(
            ["ledger_id"],
            ["ledgers.id"],
        ),
        sa.PrimaryKeyConstraint("ledger_id", "at"),
        sqlite_with_rowid=False,
    )
