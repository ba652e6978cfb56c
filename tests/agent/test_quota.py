"""What a label may use in a day and in a minute."""

import contextlib
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.engine.protocol import Delta, Event, Failed, Finished, GenRequest, Outcome, Started, Usage
from agent.entries import Counts, Entry
from agent.job import Caller
from agent.keys import Keys, create_key
from agent.lease import LeaseBook
from agent.ledger import Ledger
from agent.meter import _NEAR_TOKENS, Meter
from agent.quota import Quotas
from agent.scheduler import Sink
from store.clock import SetClock


@pytest.fixture
def clock() -> SetClock:
    return SetClock(datetime.now(UTC).replace(hour=22, minute=0, second=0, microsecond=0))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.db")
    yield opened
    opened.close()


@pytest.fixture
def quotas(tmp_path: Path, ledger: Ledger, clock: SetClock) -> Quotas:
    path = tmp_path / "keys"
    create_key(path, "daily", tokens_per_day=100)
    create_key(path, "minute", requests_per_minute=2)
    create_key(path, "free")
    return Quotas(Keys("keys_file", path), ledger, clock)


def test_without_limits_nothing_is_refused(quotas: Quotas) -> None:
    assert quotas.left("free") is None
    assert all(quotas.refuses("free", 10**6) is None for _ in range(100))


def test_a_days_tokens_end_and_come_back_at_midnight(quotas: Quotas, clock: SetClock) -> None:
    assert quotas.refuses("daily", 99) is None
    quotas.count("daily", 95)
    assert quotas.left("daily") == 5
    refusal = quotas.refuses("daily", 5)
    assert refusal is not None
    assert (refusal.status, refusal.code, refusal.retry_after_s) == (429, "insufficient_quota", 2 * 3600 + 1)
    assert quotas.refuses("daily", 4) is None
    clock.advance(2 * 3600)
    assert quotas.left("daily") == 100


async def test_a_restart_forgets_no_token_of_today(quotas: Quotas, ledger: Ledger, clock: SetClock) -> None:
    now = clock.now()
    ended = Entry("1", "daily", "completions", "m", now, Counts(1, 30, 0, 40, 40), Outcome.STOPPED, now)
    await ledger.write([ended])
    assert quotas.left("daily") == 30
    quotas.count("daily", 5)
    assert quotas.left("daily") == 25


def test_a_minutes_requests_slide(quotas: Quotas, clock: SetClock) -> None:
    assert quotas.asks("minute") is None
    clock.advance(30)
    assert quotas.asks("minute") is None
    refusal = quotas.asks("minute")
    assert refusal is not None
    assert (refusal.status, refusal.code, refusal.retry_after_s) == (429, "rate_limit_exceeded", 31)
    clock.advance(31)
    assert quotas.asks("minute") is None
    assert quotas.asks("minute") is not None


class ByHand:
    """The engine's thread, run by the test: what it is told to cap, and where events go."""

    busy_ms = 0

    def __init__(self) -> None:
        self.caps: list[tuple[str, int]] = []
        self.sinks: dict[str, Sink] = {}

    def submit(self, request: GenRequest, sink: Sink) -> None:
        self.sinks[request.id] = sink

    def cap(self, request_id: str, max_tokens: int) -> None:
        self.caps.append((request_id, max_tokens))

    def cancel(self, request_id: str) -> None: ...


class Book:
    """A label's quota kept the plain way: everything is added up again after each event."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.jobs: list[list[GenRequest]] = []
        self.usage: dict[str, Usage] = {}
        self.ended: set[str] = set()

    def active(self) -> list[list[GenRequest]]:
        return [job for job in self.jobs if not all(one.id in self.ended for one in job)]

    def left(self) -> int:
        used = sum(usage.prompt_tokens + usage.completion_tokens for usage in self.usage.values())
        active = [one for job in self.active() for one in job]
        begun = sum(self.usage.get(one.id, Usage()).prompt_tokens for one in active)
        return self.limit - used - (sum(len(one.prompt) for one in active) - begun)

    def begins(self, job: list[GenRequest]) -> list[tuple[str, int]]:
        self.jobs.append(job)
        left = self.left()
        return [] if left >= sum(one.max_tokens for one in job) else self._shared(job, max(left, 0))

    def caps(self) -> list[tuple[str, int]]:
        active, left = self.active(), self.left()
        if left > len(active) * _NEAR_TOKENS:
            return []
        return [cap for job in active for cap in self._shared(job, max(left // len(active), 0))]

    def _shared(self, job: list[GenRequest], more: int) -> list[tuple[str, int]]:
        running = [one for one in job if one.id not in self.ended]
        share, rest = divmod(more, len(running))
        done = [self.usage.get(one.id, Usage()).completion_tokens for one in running]
        return [
            (one.id, done + share + (place < rest))
            for place, (one, done) in enumerate(zip(running, done, strict=True))
        ]


def said_next(draw: random.Random, one: GenRequest, before: Usage | None) -> tuple[Event, Usage]:
    """Anything that an engine may say of a sequence now, and its usage then."""
    if before is None:
        begun = Usage(len(one.prompt))
        if draw.random() < 0.5:
            return Started(one.id, begun), begun
        return Finished(one.id, Outcome.CANCELLED, Usage()), Usage()
    more = before + Usage(completion_tokens=draw.randint(1, 4))
    if draw.random() < 0.95:
        return Delta(one.id, "x", more.completion_tokens - before.completion_tokens), more
    ended = Failed(one.id, "broken", Usage()), before
    return ended if draw.random() < 0.3 else (Finished(one.id, Outcome.STOPPED, more), more)


@contextlib.contextmanager
def metered(engine: ByHand, quotas: Quotas, ledger: Ledger, clock: SetClock) -> Iterator[Meter]:
    """A meter whose requests are not on record yet when the test is over."""
    meter = Meter(ledger, engine, LeaseBook(clock), 60, quotas=quotas)  # type: ignore[arg-type]
    yield meter
    assert meter._opening is not None
    meter._opening.cancel()


@pytest.mark.parametrize("seed", range(20))
async def test_a_quota_is_kept_as_if_everything_were_added_up_at_each_event(
    tmp_path: Path, ledger: Ledger, clock: SetClock, seed: int
) -> None:
    draw, engine, capped = random.Random(seed), ByHand(), 0
    books = {label: Book(draw.randint(100, 600)) for label in ("one", "two")}
    for label, book in books.items():
        create_key(tmp_path / "keys", label, tokens_per_day=book.limit)
    quotas = Quotas(Keys("keys_file", tmp_path / "keys"), ledger, clock)
    with metered(engine, quotas, ledger, clock) as meter:
        for number in range(600):
            label = draw.choice(["one", "two", "free"])
            book = books.get(label, Book(10**9))
            running = [one for job in book.active() for one in job if one.id not in book.ended]
            engine.caps.clear()
            if running and draw.random() < 0.9:
                one = draw.choice(running)
                event, book.usage[one.id] = said_next(draw, one, book.usage.get(one.id))
                book.ended |= {one.id} if isinstance(event, Finished | Failed) else set()
                engine.sinks[one.id](event)
                assert engine.caps == book.caps()
                capped += len(engine.caps)
                continue
            prompt = [1] * draw.randint(1, 30)
            asked = [GenRequest(f"{number}-{place}", prompt, 100) for place in range(draw.randint(1, 3))]
            tokens = len(prompt) * len(asked)
            is_taken = meter.refuses(label, tokens) is None
            assert is_taken == (book.left() > tokens)
            if is_taken:
                meter.begin(asked, Caller(label, "completions", "m"))
                assert engine.caps == book.begins(asked)
    assert capped > 0


async def test_what_is_used_while_a_limit_is_away_counts_once_it_is_back(
    tmp_path: Path, ledger: Ledger, clock: SetClock
) -> None:
    path, engine = tmp_path / "keys", ByHand()
    create_key(path, "daily", tokens_per_day=1000)
    limited = path.read_text()
    keys = Keys("keys_file", path, looks_every_s=0)
    quotas = Quotas(keys, ledger, clock)
    assert quotas.left("daily") == 1000
    path.write_text(limited.replace(" tokens_per_day=1000", ""))
    assert keys.label("no key") is None  # it looks at the file
    with metered(engine, quotas, ledger, clock) as meter:
        for name in ("ends", "runs"):
            meter.begin([GenRequest(name, [1] * 10, 900)], Caller("daily", "completions", "m"))
            engine.sinks[name](Started(name, Usage(10)))
            engine.sinks[name](Delta(name, "x", 40))
        engine.sinks["ends"](Finished("ends", Outcome.STOPPED, Usage(10, 0, 40)))
        assert quotas.left("daily") is None
        path.write_text(limited)
        assert keys.label("no key") is None
        engine.sinks["runs"](Delta("runs", "x", 5))
    assert quotas.left("daily") == 1000 - 50 - 55
