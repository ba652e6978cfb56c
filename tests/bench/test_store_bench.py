"""How long figures take as a history grows, as a ratio within one run: `make bench`."""

import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from sqlmodel import Session

from store.database import open_database
from store.figures import figures
from store.window import Window
from tests.conftest import START, History


def median_ms(call: Callable[[], object], rounds: int = 30) -> float:
    """Milliseconds of one call."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def test_a_figure_costs_the_same_however_long_the_window(tmp_path: Path) -> None:
    """A window is two edges: its length must not matter."""
    history = History(open_database(f"sqlite:///{tmp_path / 'mtok.db'}"))
    for minute in range(3_000):
        history.tick(history.bill(minute * 33_333_333), totals=history.totals(minute, minute * 9))
    now = history.clock.now()

    def figure(session: Session, minutes: int) -> None:
        figures(session, history.tier, Window(now - timedelta(minutes=minutes), now))

    with history.database.read() as session:
        hour = median_ms(lambda: figure(session, 60))
        days = median_ms(lambda: figure(session, 2_900))
    print(f"\none tier's figure: 1 h {hour:.2f} ms, 2 d {days:.2f} ms, ratio {days / hour:.2f} (start {START:%F})")
