"""Nothing: its place is taken by what is merged with it."""

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Change nothing."""
