"""The file of known host keys, as OpenSSH writes it: what is said of a name, and a key taken in on purpose."""

import base64
import binascii
import hmac
import os
from pathlib import Path

from store.errors import SettingsError
from store.file_modes import fresh


def known_keys(path: Path, alias: str) -> tuple[list[str], list[str]]:
    """The keys of `alias`, each as `ssh-ed25519 AAAA…`, and those that the file calls revoked, of any name.

    A name is written plainly or hashed; patterns are not understood. A file that is not there knows nobody.

    Raises:
        SettingsError: it cannot be read.
    """
    known: list[str] = []
    revoked: list[str] = []
    for line in _lines(path):
        words = line.split()
        if words[:1] == ["@revoked"] and len(words) >= 4:
            revoked.append(f"{words[2]} {words[3]}")
        elif len(words) >= 3 and any(_names(name, alias) for name in words[0].split(",")):
            known.append(f"{words[1]} {words[2]}")
    return known, revoked


def accept_key(path: Path, alias: str, key: str) -> None:
    """Make `key` the one that is known of `alias`; keys of other names stay as they are.

    Raises:
        SettingsError: the file cannot be read or written.
    """
    kept = [left for line in _lines(path) if (left := _without(line, alias)) is not None]
    draft = path.with_name(f"{path.name}.draft")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = "".join(f"{line}\n" for line in [*kept, f"{alias} {key}"])
        with os.fdopen(fresh(draft), "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        draft.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError("ssh.known_hosts_file", f"cannot write {path}: {reason}", "check its rights") from None


def _without(line: str, alias: str) -> str | None:
    """A line with no word of `alias`; None where nothing is left of it."""
    words = line.split()
    if len(words) < 3 or words[0].startswith(("#", "@")):
        return line
    names = words[0].split(",")
    others = [name for name in names if not _names(name, alias)]
    if len(others) == len(names):
        return line
    return " ".join([",".join(others), *words[1:]]) if others else None


def _names(name: str, alias: str) -> bool:
    if not name.startswith("|1|"):
        return name == alias
    try:
        salt, digest = (base64.b64decode(part) for part in name.removeprefix("|1|").split("|"))
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(hmac.digest(salt, alias.encode(), "sha1"), digest)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError("ssh.known_hosts_file", f"cannot read {path}: {reason}", "check its rights") from None
