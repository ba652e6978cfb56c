"""Settings files in TOML, understood whole or refused with one line; and the secrets that they point to."""

import os
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from store.errors import SettingsError

Model = TypeVar("Model", bound=BaseModel)


def load_file(model: type[Model], path: Path, above: Mapping[str, Any] | None = None) -> Model:
    """Read `path` as a `model`, whose field `path` becomes the file's own absolute path.

    What is in `above` stands above the file, section by section.

    Raises:
        SettingsError: not there, not TOML, an unknown key, a wrong value; it names the first at fault.
    """
    try:
        raw = tomllib.loads(read_text(str(path), path))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(str(path), f"is not TOML: {error}", "mend that line") from None
    except (ValueError, RecursionError):  # tomllib's own limits are Python's
        problem = "holds a number of too many digits, or lists in too many lists"
        raise SettingsError(str(path), problem, "shorten it") from None
    if (text := _unprintable(raw)) is not None:
        raise SettingsError(str(path), f"{text!r} holds a control character", "remove it")
    try:
        return model.model_validate({**_merged(raw, above or {}), "path": path.resolve()})
    except ValidationError as error:
        raise _first_fault(path, error) from None


def read_secret(where: str, folder: Path, env: str | None, file: Path | None, credential: str | None = None) -> str:
    """The secret in the environment variable `env`, or else in `file`, relative to `folder`, or in a `credential`.

    Raises:
        SettingsError: the variable is unset, or the file or credential cannot be read or is empty; never shows
            the secret.
    """
    if env is not None:
        value = os.environ.get(env, "").strip()
        if not value:
            raise SettingsError(where, f"environment variable {env} is not set", "set it, or use a file")
        return value
    if credential is not None:
        file = _credential(where, credential)
    assert file is not None
    value = read_text(where, folder / file).strip()
    if not value:
        raise SettingsError(where, f"{file} is empty", "put the secret into it")
    return value


def read_key(where: str, folder: Path, env: str | None, file: Path | None, credential: str | None = None) -> str:
    """A secret that a header carries: one line. What refuses another would quote it, and so show it.

    Raises:
        SettingsError: as `read_secret`; or it has line breaks, tabs or other letters than ASCII.
    """
    key = read_secret(where, folder, env, file, credential)
    if not (key.isascii() and key.isprintable()):
        problem = "the secret has a line break or a letter that no header carries"
        raise SettingsError(where, problem, "copy it again, as one line")
    return key


def _credential(where: str, name: str) -> Path:
    """Where systemd has put a credential of this service. Source: systemd.exec(5), LoadCredential=."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        remedy = f"start it as a service with LoadCredential={name}:FILE, or name a file"
        raise SettingsError(where, f"credential {name} is systemd's, and this process was not given any", remedy)
    return Path(folder) / name


def read_text(where: str, path: Path) -> str:
    """A text file that the settings need.

    Raises:
        SettingsError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(where, f"cannot read {path}: {reason}", "check the path and its rights") from None


def _merged(raw: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**raw, **above}
    for name, value in above.items():
        if isinstance(value, Mapping) and isinstance(raw.get(name), Mapping):
            merged[name] = {**raw[name], **value}
    return merged


def _unprintable(value: object) -> str | None:
    """The first text, at whatever depth, that holds a control character: no name, path or address has one."""
    if isinstance(value, str):
        return value if any(unicodedata.category(char) == "Cc" for char in value) else None
    inside: Iterable[object] = ()
    if isinstance(value, Mapping):
        inside = chain.from_iterable(value.items())
    elif isinstance(value, list):
        inside = value
    return next((found for one in inside if (found := _unprintable(one)) is not None), None)


def _first_fault(path: Path, error: ValidationError) -> SettingsError:
    fault = error.errors()[0]
    place = ".".join(str(part + 1) if isinstance(part, int) else part for part in fault["loc"])
    where = f"{path}: {place}" if place else str(path)
    if fault["type"] == "extra_forbidden":
        return SettingsError(where, "there is no such setting", "remove it, or check its spelling")
    if fault["type"] == "missing":
        return SettingsError(where, "this setting is missing", "add it")
    return SettingsError(where, fault["msg"].removeprefix("Value error, "), "correct it")
