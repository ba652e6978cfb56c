"""The whole gate: closed by hand, limits of tiers, hysteresis, and alarms."""

import sqlalchemy as sa
from alembic import op
from sqlmodel.sql.sqltypes import UTCDateTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add them."""
    op.add_column("resources", sa.Column("state_since_at", UTCDateTime(), nullable=True))
    op.add_column("verdicts", sa.Column("tier_reasons", sa.String(), nullable=False, server_default="{}"))
    op.add_column("allowances", sa.Column("scope", sa.String(), nullable=False, server_default=""))
    op.create_table(
        "gate_memory",
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("below_since_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("scope"),
    )
    op.create_table(
        "gate_closures",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("opened_at", UTCDateTime(), nullable=True),
        sa.Column("opened_by", sa.String(), nullable=True),
        sa.Column("opened_reason", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "alarms",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("told_at", UTCDateTime(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("problem", sa.String(), nullable=True),
        sa.Column("ended_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_alarms_open", "alarms", ["ended_at", "kind", "subject"])
