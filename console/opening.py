"""Settings and the store that they name, for whoever needs both."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from console.settings import Settings, load_settings
from console.settings_place import find_settings
from store.database import Database, open_database


@contextmanager
def opened(config: Path | None, *, read_only: bool = False) -> Iterator[tuple[Settings, Database]]:
    """The settings and the store that they name; `read_only`: the store refuses every write.

    Raises:
        SettingsError: the settings file cannot be used.
        StoreError: the store cannot be used.
    """
    settings = load_settings(find_settings(config))
    database = open_database(settings.store_url, read_only=read_only)
    try:
        yield settings, database
    finally:
        database.close()
