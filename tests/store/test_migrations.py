"""An older store is brought up to date with everything that it holds."""

from datetime import timedelta
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

import store
from store.figures_read import figures
from store.unknown import Unknown
from store.window import Window
from tests.conftest import START, History
from tests.databases import opened

AT = [(START + timedelta(minutes=minute)).strftime("%Y-%m-%d %H:%M:%S.%f") for minute in range(2)]
COUNTS = "1, 1, {n}, {n}, 1, 1, 0, 0"
ROWS = [
    *(f"INSERT INTO ticks (at, fence, complete, duration_ms) VALUES ('{at}', 1, 1, 1)" for at in AT),
    *(f"INSERT INTO tier_ticks (tier, at, complete, running_ms) VALUES ('h100', '{at}', 1, 0)" for at in AT),
    "INSERT INTO ledgers (id, uuid, created_at, tier, agent, first_seen_at, is_newborn)"
    f" VALUES (1, 'ledger-a', '2026-11-23 08:00:00.000000', 'h100', 'h100-a', '{AT[0]}', 0)",
    *(
        "INSERT INTO usage_samples (ledger_id, at, prompt_tokens, cached_tokens, completion_tokens,"
        " delivered_tokens, requests, busy_ms, reserved_prompt_tokens, reserved_completion_tokens)"
        f" VALUES (1, '{at}', {COUNTS.format(n=n)})"
        for at, n in zip(AT, (100, 700), strict=True)
    ),
    "INSERT INTO agents (agent, tier, in_flight, engine, lease_open) VALUES ('h100-a', 'h100', 2, 'an engine', 1)",
]


def a_store_at(revision: str, url: str) -> None:
    """A store as the release of that revision left it."""
    config = Config()
    config.set_main_option("script_location", str(Path(store.__file__).parent / "migrations"))
    engine = create_engine(url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for row in ROWS:
            connection.execute(text(row))
    engine.dispose()


def test_figures_of_a_store_from_before_capacities_stay_and_its_loads_are_not_known(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'mtok.db'}"
    a_store_at("0004", url)
    with opened(url) as database:
        with database.read() as session:
            found = figures(session, "h100", Window(START, START + timedelta(minutes=1)))
            agent = session.connection().execute(text("SELECT engine, capacity_per_ks, gpu FROM agents")).one()
        assert not isinstance(found.usage, Unknown)
        assert found.usage.completion_tokens == 600
        assert found.load == Unknown("the capacity of agent h100-a was not known; mtok agent bench measures it")
        assert tuple(agent) == ("an engine", None, "")
        after = History(database)
        after.clock.advance(120)
        assert after.tick(after.bill(1), totals=after.totals(2, 800, requests=1))
