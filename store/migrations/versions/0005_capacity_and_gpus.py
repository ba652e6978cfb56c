"""What agents can do at most, at each tick, and what their GPUs do."""

import sqlalchemy as sa
from alembic import op
from sqlmodel.sql.sqltypes import UTCDateTime

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add them."""
    op.add_column("usage_samples", sa.Column("capacity_per_ks", sa.BigInteger(), nullable=True))
    op.add_column("agents", sa.Column("capacity_per_ks", sa.BigInteger(), nullable=True))
    op.add_column("agents", sa.Column("capacity_measured_at", UTCDateTime(), nullable=True))
    op.add_column("agents", sa.Column("capacity_about", sa.String(), nullable=False, server_default=""))
    op.add_column("agents", sa.Column("gpu", sa.String(), nullable=False, server_default=""))
