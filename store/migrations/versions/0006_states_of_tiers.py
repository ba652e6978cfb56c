"""A tier's state at each tick, so that a past minute can be shown."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add it."""
    op.add_column("tier_ticks", sa.Column("state", sa.String(), nullable=True))
