"""Settings and the store that they name, for whoever needs both."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from console.settings import Settings, load_settings
from console.settings_place import find_settings

if TYPE_CHECKING:
    from store.database import Database


def found_settings(config: Path | None) -> Settings:
    """The settings that `config` names, or those that are found where they lie by default.

    Raises:
        SettingsError: the settings file cannot be used.
    """
    return load_settings(find_settings(config))


def open_store(settings: Settings, *, read_only: bool = False) -> "Database":
    """The store of these settings; see `store.database.open_database`.

    Raises:
        StoreError: the store cannot be used.
    """
    from store.database import open_database  # SQLAlchemy: a third of the start of a screen that waits for it

    return open_database(settings.store_url, read_only=read_only)


@contextmanager
def opened(config: Path | None, *, read_only: bool = False) -> Iterator[tuple[Settings, "Database"]]:
    """The settings and the store that they name; `read_only`: the store refuses every write.

    Raises:
        SettingsError: the settings file cannot be used.
        StoreError: the store cannot be used.
    """
    settings = found_settings(config)
    database = open_store(settings, read_only=read_only)
    try:
        yield settings, database
    finally:
        database.close()
