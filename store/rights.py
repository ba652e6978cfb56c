"""Whether this account may write a store, and how one is opened that must not be written."""

import os
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, inspect, text


def may_write(engine: Engine) -> bool:
    """Whether this account may ask for an operation: of PostgreSQL, by its role; of SQLite, by the file's mode."""
    if engine.dialect.name == "sqlite":
        path = engine.url.database
        return not path or not Path(path).exists() or os.access(path, os.W_OK)
    with engine.connect() as connection:
        if not inspect(connection).has_table("operations"):
            return True
        allowed = text("SELECT has_table_privilege('operations', 'INSERT')")
        return bool(connection.execute(allowed).scalar_one())


def read_only_options(dialect: str) -> dict[str, Any]:
    """What `create_engine` takes so that the database refuses every write itself (SQLite: see its pragmas)."""
    if dialect == "sqlite":
        return {}
    return {"connect_args": {"options": "-c default_transaction_read_only=on"}}
