"""Operations that survive: every provider call on record, candidates for the lead, what stopped unasked."""

import sqlalchemy as sa
from alembic import op
from sqlmodel.sql.sqltypes import UTCDateTime

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add them."""
    op.add_column("resources", sa.Column("may_sleep", sa.Boolean(), nullable=True))
    op.add_column("resources", sa.Column("attached_to", sa.String(), nullable=True))
    op.add_column("resources", sa.Column("unasked_at", UTCDateTime(), nullable=True))
    op.add_column("agents", sa.Column("model", sa.String(), nullable=False, server_default=""))
    op.add_column("agents", sa.Column("quantisation", sa.String(), nullable=False, server_default=""))
    op.add_column("agents", sa.Column("keys", sa.String(), nullable=False, server_default=""))
    op.add_column("agents", sa.Column("version", sa.String(), nullable=False, server_default=""))
    op.add_column("operations", sa.Column("readings", sa.Integer(), nullable=False, server_default="0"))
    under_way = sa.text("finished_at IS NULL")
    op.create_index(
        "ux_operations_under_way",
        "operations",
        ["tier"],
        unique=True,
        sqlite_where=under_way,
        postgresql_where=under_way,
    )
    op.create_table(
        "operation_calls",
        sa.Column("operation_id", sa.Integer(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("resource_id", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("seen", sa.String(), nullable=False),
        sa.Column("sent_at", UTCDateTime(), nullable=False),
        sa.Column("answer", sa.String(), nullable=False),
        sa.Column("answered_at", UTCDateTime(), nullable=True),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("moved_at", UTCDateTime(), nullable=True),
        sa.Column("ended", sa.String(), nullable=False),
        sa.Column("ended_at", UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["operation_id"], ["operations.id"]),
        sa.PrimaryKeyConstraint("operation_id", "n"),
    )
    op.create_table(
        "candidates",
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("expires_at", UTCDateTime(), nullable=False),
        sa.Column("yielded_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("owner"),
    )
