"""`mtok agent check`: whether this machine could serve, one line for each thing that was looked at."""

from pathlib import Path

from agent.engine.open import open_engine
from agent.engine.probe import ENGINE, Machine, checks
from agent.errors import EngineLacks
from agent.ledger import Ledger
from agent.settings import load_agent_settings
from agent.sockets import Sockets
from agent.storage import check_storage
from agent.traces import open_traces
from store.errors import SettingsError


def check_agent(config: Path) -> None:
    """Look at everything that serving needs, to the first thing that is missing.

    Raises:
        MtokError: that.
    """
    settings = load_agent_settings(config)
    settings.control_secret()
    settings.keys()
    settings.tls_files()
    print(f"settings  ok: {settings.path}")
    sockets = Sockets(settings)
    for listening in (sockets.public, sockets.control):
        listening.close()
    print(f"addresses ok: {settings.public_address}, {settings.control_address}")
    if settings.allow_vanishing:
        print("storage   not asked: allow_vanishing = true")
    else:
        for what, path in (("ledger", settings.ledger), ("model", settings.model_dir)):
            check_storage(what, settings.beside(path), settings.vanishing_paths)
        print("storage   ok: ledger and model outlive a sleep")
    ledger = Ledger(settings.beside(settings.ledger))
    try:
        print(f"ledger    ok: {ledger.uuid}, totals are the sum of its entries")
    finally:
        ledger.close()
    if (traces := open_traces(settings)) is not None:
        traces.stop()
        print(f"traces    ok: spans go to {settings.otlp.url}")
    machine = Machine()
    if settings.exllamav2.extension_dir is not None:
        machine = machine.with_extensions(settings.beside(settings.exllamav2.extension_dir))
    check_engine(settings.engine, machine)
    engine = open_engine(settings)
    print(f"model     ok: {engine.info.model}; {engine.info.label}")


def check_engine(name: str, machine: Machine | None = None) -> None:
    """Look at what an engine needs of this machine. Every line is printed, whatever an earlier one says.

    Raises:
        EngineLacks: the first thing that is missing.
        SettingsError: there is no such engine.
    """
    if name in ("reference", "null"):
        return
    if name != ENGINE:
        raise SettingsError("--engine", f"there is no engine {name!r}", f"it is reference, null or {ENGINE}")
    first: EngineLacks | None = None
    for check in checks(machine or Machine()):
        print(check.line())
        if check.found is None and first is None:
            first = EngineLacks(name, check.name, check.problem, check.remedy)
    if first is not None:
        raise first
