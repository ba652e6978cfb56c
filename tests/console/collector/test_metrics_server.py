"""`/metrics` of the collector: both formats, and nothing that a scraper does can hold up a tick."""

import asyncio
import contextlib
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.pool import Pool, PoolProxiedConnection
from sqlmodel import Session

from console.collector.metrics_server import _CLIENTS, MetricsServer, Reader, metrics_served
from console.settings import Settings, load_settings
from store.errors import SettingsError
from tests.console.fleet_world import FleetWorld, fleet_world

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


def with_address(world: FleetWorld, address: str, more: str = "") -> Settings:
    path = world.settings.path
    path.write_text(f'{path.read_text()}\n[metrics]\naddress = "{address}"\n{more}', encoding="utf-8")
    return load_settings(path)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[FleetWorld]:
    world = fleet_world(tmp_path)
    world.tick()
    world.tick()
    yield world
    world.database.close()


@pytest.fixture
def server(world: FleetWorld) -> Iterator[MetricsServer]:
    server = MetricsServer("127.0.0.1:0", Reader(world.settings))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
    server.reader.close()


def get(server: MetricsServer, path: str = "/metrics", accept: str = "") -> tuple[int, str, str]:
    """Status, content type and text of one request."""
    url = f"http://127.0.0.1:{server.server_address[1]}{path}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=10) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def test_each_client_gets_the_format_that_it_reads(server: MetricsServer) -> None:
    status, kind, text = get(server, accept=OPENMETRICS)
    assert (status, kind.partition(";")[0]) == (200, "application/openmetrics-text")
    assert text.endswith("# EOF\n")
    status, kind, text = get(server)
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert 'mtok_spend_nanodollars{currency="USD",tier="h100"}' in text


def test_there_is_nothing_else(server: MetricsServer) -> None:
    assert get(server, "/")[0] == 404


def test_a_store_that_is_gone_is_503_and_comes_back(server: MetricsServer, world: FleetWorld) -> None:
    assert get(server)[0] == 200
    path = Path(str(world.database.engine.url.database))
    away = path.with_suffix(".away")
    path.rename(away)
    assert get(server)[0] == 503
    away.rename(path)
    assert get(server)[0] == 200


def test_a_reading_that_takes_too_long_is_503_and_serves_whoever_asks_later(
    server: MetricsServer, world: FleetWorld
) -> None:
    assert get(server)[0] == 200
    database = server.reader.database
    assert database is not None
    server.reader.within_s = 0.2
    held = _hold_connections(database.engine.pool)
    assert get(server)[0] == 503
    server.reader.within_s = 30
    for connection in held:
        connection.close()
    assert get(server)[0] == 200
    with world.database.write() as session:  # nothing of it holds up who writes
        assert isinstance(session, Session)


def _hold_connections(pool: Pool) -> list[PoolProxiedConnection]:
    """Every connection that the pool would give."""
    return [pool.connect() for _ in range(15)]


def test_clients_that_say_nothing_leave_room_for_others_soon(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.collector.metrics_server._Handler.timeout", 0.3)
    silent = [socket.create_connection(("127.0.0.1", server.server_address[1])) for _ in range(_CLIENTS)]
    end_s, status = time.monotonic() + 30, 0
    try:
        while status != 200 and time.monotonic() < end_s:
            with contextlib.suppress(OSError):  # there is no room yet
                status = get(server)[0]
        assert status == 200
    finally:
        for one in silent:
            one.close()


async def test_an_address_in_use_is_taken_once_it_is_free(world: FleetWorld) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = with_address(world, f"127.0.0.1:{port}")
        async with metrics_served(settings, again_after_s=0.05):
            await asyncio.sleep(0.1)
            taken.close()
            for _ in range(100):
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
            else:
                pytest.fail("it did not listen")


async def test_without_an_address_nothing_listens(world: FleetWorld) -> None:
    before = threading.active_count()
    async with metrics_served(world.settings):
        assert threading.active_count() == before


@pytest.mark.parametrize("address", ["127.0.0.1", "here:99999", ""])
def test_what_is_no_address_is_refused(world: FleetWorld, address: str) -> None:
    with pytest.raises(SettingsError, match="is no address"):
        with_address(world, address)


def test_another_address_than_loopback_needs_a_word(world: FleetWorld) -> None:
    with pytest.raises(SettingsError, match="public = true"):
        with_address(world, "0.0.0.0:9470")
    path = world.settings.path
    path.write_text(f"{path.read_text()}public = true\n", encoding="utf-8")
    assert load_settings(path).metrics.public
