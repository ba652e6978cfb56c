"""Counters that may still move are found without those that have ended: a bill by the hour leaves one each hour."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Index them."""
    op.drop_index("ix_bill_counters_tier", "bill_counters")
    op.create_index("ix_bill_counters_final", "bill_counters", ["final_at"])
    op.create_index("ix_bill_counters_provider", "bill_counters", ["provider", "final_at"])
    op.create_index("ix_bill_counters_tier", "bill_counters", ["tier", "final_at"])
    is_unsettled = sa.text("unsettled_at IS NOT NULL")
    op.create_index(
        "ix_bill_counters_unsettled",
        "bill_counters",
        ["tier"],
        sqlite_where=is_unsettled,
        postgresql_where=is_unsettled,
    )
