"""Where `mtok.toml` is looked for. Apart from the settings themselves, so that a shell's completion is fast."""

import os
from pathlib import Path


def find_settings(path: Path | None) -> Path:
    """The settings file: as given, else `MTOK_CONFIG`, else `./mtok.toml`, else the XDG place."""
    if path is not None:
        return path
    if "MTOK_CONFIG" in os.environ:
        return Path(os.environ["MTOK_CONFIG"])
    here = Path("mtok.toml")
    if here.exists():
        return here
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return home / "mtok" / "mtok.toml"
