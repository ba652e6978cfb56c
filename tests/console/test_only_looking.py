"""Whoever may only look, at now or at the past, makes no store and upgrades none."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

import store
from tests.commands import mtok
from tests.console.fleet_world import TIERS, settings_text
from tests.console.tui.live_store import MTOK
from tests.terminal import on_pty

PAST = ("--at", "2026-11-24T08:01Z")
BY_SETTINGS = "\n[console]\nread_only = true\n"


def make_older(url: str) -> None:
    """A store as the release before last left it."""
    config, engine = Config(), create_engine(url)
    config.set_main_option("script_location", str(Path(store.__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0007")
    engine.dispose()


def version_of(url: str) -> str:
    engine = create_engine(url)
    with engine.connect() as connection:
        version: str = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    engine.dispose()
    return version


@pytest.mark.parametrize("is_there", [False, True], ids=["absent", "older"])
@pytest.mark.parametrize(
    ("options", "more"),
    [
        pytest.param((), BY_SETTINGS, id="settings"),
        pytest.param(PAST, "", id="past"),
        pytest.param(("--plain",), BY_SETTINGS, id="plain, settings"),
        pytest.param(("--plain", "--read-only"), "", id="plain, read-only"),
        pytest.param(("--once",), BY_SETTINGS, id="once, settings"),
        pytest.param(("--once", "--read-only"), "", id="once, read-only"),
        pytest.param(("--once", *PAST), "", id="once, past"),
        pytest.param(("--json", "--read-only"), "", id="json, read-only"),
        pytest.param(("--web",), "", id="web"),
    ],
)
def test_it_is_refused_and_the_store_is_as_it_was(
    tmp_path: Path, options: Sequence[str], more: str, is_there: bool
) -> None:
    settings, path = tmp_path / "mtok.toml", tmp_path / "mtok.db"
    settings.write_text(settings_text(TIERS, "200") + more, encoding="utf-8")
    url = f"sqlite:///{path}"
    if is_there:
        make_older(url)
    words = ["console", *options, "--config", str(settings)]
    if not options or options == PAST:  # a screen, which needs a terminal
        with on_pty([*MTOK, *words], cols=250) as terminal:
            code, said = terminal.ended(), terminal.text
    else:
        code, out, said = mtok(*words)
        assert out == ""
    assert code == 4
    assert ("run `mtok store migrate`" if is_there else f"there is no {path} yet") in said
    assert path.exists() is is_there
    if is_there:
        assert version_of(url) == "0007"
