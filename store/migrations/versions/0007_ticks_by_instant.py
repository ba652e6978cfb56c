"""What belongs to a tick is found by its instant: a thinned day would scan each table once a tick."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Index it."""
    for table in ("tier_ticks", "provider_ticks", "gaps"):
        op.create_index(f"ix_{table}_at", table, ["at"])
