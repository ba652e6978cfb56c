"""The store's versions, as Alembic steps."""
