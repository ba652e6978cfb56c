"""Bills in files: which file has the last word, what waits, what is refused, and that nothing is ever invented."""

import asyncio
import gzip
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console.providers.files import Files
from console.providers.files_kind import FilesOptions
from console.providers.files_rows import FOCUS, SIMPLE, read_charges
from console.providers.protocol import Action, BillReading, Ref, Refused
from store.clock import SetClock
from store.money import parse_nusd
from store.words import ResourceKind, State

NOW = datetime(2026, 11, 24, 10, 30, tzinfo=UTC)
HEAD = "resource,kind,start,end,amount,currency\n"
DAY = "2026-11-23T00:00:00Z,2026-11-24T00:00:00Z"
GPU = Ref(ResourceKind.INSTANCE, "gpu-1")


def row(
    amount: str, period: str = DAY, resource: str = "gpu-1", kind: str = "instance", currency: str = "USD"
) -> str:
    return f"{resource},{kind},{period},{amount},{currency}\n"


@dataclass
class Exports:
    """A folder of exports on a clock that stands, and the adapter that watches it."""

    path: Path
    clock: SetClock

    def __post_init__(self) -> None:
        self.path.mkdir()
        self.again()

    def again(self, **options: object) -> None:
        """A new process: it remembers nothing."""
        fields = FilesOptions.model_validate({"folder": str(self.path), **options})
        self.files = Files("exports", self.path.parent, fields, (GPU,), clock=self.clock)

    def write(self, name: str, text: str | bytes, age_s: float = 60) -> None:
        """A file as its writer left it so long ago."""
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        at = self.clock.now().timestamp() - age_s
        os.utime(path, (at, at))

    def bills(self, *known: str) -> tuple[dict[str, BillReading], tuple[str, ...]]:
        """What one tick brings, by resource and the period's start; and the problems."""
        batch = asyncio.run(self.files.bills(known))
        return {f"{one.ref.id} {one.started_at:%d %H}": one for one in batch.items}, batch.problems

    def totals(self, *known: str) -> dict[str, str]:
        items, problems = self.bills(*known)
        assert not problems
        return {key: one.raw for key, one in items.items()}


@pytest.fixture
def exports(tmp_path: Path) -> Exports:
    return Exports(tmp_path / "exports", SetClock(NOW))


def test_a_row_is_a_bucket_that_ends(exports: Exports) -> None:
    exports.write("a.csv", HEAD + row("48.10"))
    items, problems = exports.bills()
    assert not problems
    (bill,) = items.values()
    assert (bill.ref, bill.raw, bill.total_nusd, bill.currency) == (GPU, "48.10", 48_100_000_000, "USD")
    assert bill.started_at == datetime(2026, 11, 23, tzinfo=UTC)
    assert bill.ends_at == datetime(2026, 11, 24, tzinfo=UTC)
    assert bill.step == timedelta(days=1)
    assert bill.rate_nusd_per_hour == -(-48_100_000_000 // 24)


def test_rows_of_one_statement_add_up_and_the_last_statement_by_name_replaces(exports: Exports) -> None:
    exports.write("2026-11-24T01.csv", HEAD + row("40") + row("8.25") + row("1.5", resource="gpu-2"))
    assert exports.totals() == {"gpu-1 23 00": "48.25", "gpu-2 23 00": "1.5"}
    exports.write("2026-11-24T09.csv", HEAD + row("47"), age_s=3)
    assert exports.totals() == {"gpu-1 23 00": "47", "gpu-2 23 00": "1.5"}
    exports.write("2026-11-24T00.csv", HEAD + row("99"), age_s=3)  # newer by its time, older by its name
    assert exports.totals()["gpu-1 23 00"] == "47"


def test_the_files_of_a_folder_are_parts_of_one_statement(exports: Exports) -> None:
    exports.write("a/part-0.csv", HEAD + row("40"))
    exports.write("a/part-1.csv.gz", gzip.compress((HEAD + row("8")).encode()))
    exports.write("a/_manifest.json", "{")
    assert exports.totals() == {"gpu-1 23 00": "48"}
    exports.write("b.csv", HEAD + row("1"))
    assert exports.totals() == {"gpu-1 23 00": "1"}


def test_a_file_that_is_being_written_waits_and_what_it_said_before_stands(exports: Exports) -> None:
    exports.write("a.csv", HEAD + row("40"))
    assert exports.totals() == {"gpu-1 23 00": "40"}
    exports.write("a.csv", HEAD + row("50"), age_s=1)
    exports.write("b.csv", HEAD + row("60").rstrip(), age_s=5)
    assert exports.totals() == {"gpu-1 23 00": "40"}
    exports.clock.advance(2)
    assert exports.totals() == {"gpu-1 23 00": "50"}
    exports.clock.advance(60)
    assert exports.bills()[1] == ("b.csv: its last line has no end; write it again, whole",)
    exports.again()
    exports.write("b.csv", HEAD + row("60"), age_s=1)
    assert exports.bills() == ({}, ("b.csv: is being written",))  # it may have said something before the restart


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD + row("40") + row("1.2.3"), "bad.csv: line 3: amount '1.2.3' is not a number"),
        (HEAD + row("NaN"), "line 2: amount 'NaN' is not finite"),
        (HEAD + row("1E-99999"), "line 2: amount '1E-99999' has more decimals than any bill"),
        (HEAD + row("99999999999999"), "is larger than any bill"),
        (HEAD + row("1", period="2026-11-24,2026-11-23"), "does not end after its start"),
        (HEAD + row("1", period="yesterday,today"), "'yesterday' is no instant"),
        (HEAD + row("1", currency="$"), "'$' is no currency"),
        (HEAD + row("1", kind="gpu"), "kind 'gpu' is none of instance, volume, other"),
        (HEAD + row("1", resource=""), "resource '' is empty"),
        (HEAD + row("1", resource="a\x1b[31m"), "not printable"),
        (HEAD + "gpu-1,instance\n", "line 2: has 2 cells under 6 columns"),
        (HEAD + '"gpu-1,instance\n', "line 2: unexpected end of data"),
        ("a,b,c\n1,2,3\n", "line 1: needs the columns resource, kind"),
        (b"\xff\xfe\x00\n", "it is not UTF-8 text"),
    ],
)
def test_a_bad_row_spoils_the_whole_reading_and_is_named(exports: Exports, text: str | bytes, says: str) -> None:
    exports.write("good.csv", HEAD + row("40"))
    exports.write("bad.csv", text)
    items, problems = exports.bills()
    assert items == {}
    assert says in problems[0]
    assert problems[0].startswith("bad.csv: ")
    assert "\x1b" not in problems[0]


def test_an_old_an_empty_and_a_missing_folder_are_not_zero(exports: Exports) -> None:
    assert "holds no statement yet" in exports.bills()[1][0]
    exports.write("a.csv", HEAD + row("40"), age_s=37 * 3600)
    items, problems = exports.bills()
    assert items == {}
    assert problems == ("a.csv: the newest file is 37.0 h old, and newest_within is 36 h",)
    exports.again(folder="elsewhere")
    assert "cannot be read: No such file" in exports.bills()[1][0]
    exports.again()
    exports.write("a.csv", HEAD + row("40"), age_s=-3600)
    assert "changed in the future" in exports.bills()[1][0]


OLD = "2026-11-20T00:00:00Z,2026-11-20T01:00:00Z"
RECENT = "2026-11-24T09:00:00Z,2026-11-24T10:00:00Z"


def test_a_bucket_that_is_long_over_is_told_again_only_when_it_changes(exports: Exports) -> None:
    exports.write("a.csv", HEAD + row("1", OLD) + row("2", RECENT))
    items, _ = exports.bills()
    assert set(items) == {"gpu-1 20 00", "gpu-1 24 09"}  # nobody knows whether somebody has counted it
    old, recent = (items[key].counter for key in sorted(items))
    assert set(exports.totals(recent)) == {"gpu-1 24 09"}
    exports.write("b.csv", HEAD + row("1.5", OLD))
    items, _ = exports.bills(recent)
    assert items["gpu-1 20 00"].raw == "1.5"
    assert items["gpu-1 20 00"].final
    assert set(exports.totals(old, recent)) == {"gpu-1 20 00", "gpu-1 24 09"}  # it was stored
    assert set(exports.totals(recent)) == {"gpu-1 24 09"}
    exports.again()
    assert set(exports.totals(recent)) == {"gpu-1 20 00", "gpu-1 24 09"}  # it may have changed meanwhile


def test_news_of_a_tick_that_was_not_stored_is_told_again(exports: Exports) -> None:
    exports.write("a.csv", HEAD + row("1", OLD) + row("2", RECENT))
    exports.bills()
    exports.write("b.csv", HEAD + row("1.5", OLD) + row("3", OLD, resource="gpu-2"))
    for _ in range(3):  # the store has not heard of them
        assert set(exports.totals()) == {"gpu-1 20 00", "gpu-2 20 00", "gpu-1 24 09"}


def test_a_first_look_is_told_once_more(exports: Exports) -> None:
    exports.write("a.csv", HEAD + row("1", OLD))
    told = []
    for _ in range(5):
        told.append(len(exports.totals()))
        exports.clock.advance(300)
    assert told == [1, 0, 1, 0, 0]


def test_what_no_file_states_any_more_has_vanished(exports: Exports) -> None:
    exports.write("a.csv", HEAD + row("1"))
    exports.write("b.csv", HEAD + row("2", resource="gpu-2"))
    known = [one.counter for one in exports.bills()[0].values()]
    (exports.path / "a.csv").unlink()
    batch = asyncio.run(exports.files.bills(known))
    assert [one.ref.id for one in batch.items] == ["gpu-2"]
    assert batch.vanished == (known[0],)
    assert batch.complete


def test_the_states_are_not_told_and_nothing_can_be_asked(exports: Exports) -> None:
    exports.write("a.csv", HEAD + row("1", resource="disk-1", kind="volume"))
    inventory = asyncio.run(exports.files.inventory())
    assert {one.ref.id: one.state for one in inventory.items} == {"gpu-1": State.UNKNOWN, "disk-1": State.UNKNOWN}
    assert not any(one.can for one in inventory.items)
    outcome = asyncio.run(exports.files.act(GPU, Action.SLEEP, seen="not told"))
    assert isinstance(outcome, Refused)
    assert "no power switch" in outcome.reason


def test_a_windowed_bill_is_whole_periods_or_not_known(exports: Exports) -> None:
    exports.write("a.csv", HEAD + row("1", "2026-11-24T08:00Z,2026-11-24T09:00Z") + row("-0.25", DAY))
    hours = [datetime(2026, 11, 24, hour, tzinfo=UTC) for hour in (8, 9)]
    assert asyncio.run(exports.files.billed_total(*hours)) == 10**9
    day = datetime(2026, 11, 23, tzinfo=UTC)
    assert asyncio.run(exports.files.billed_total(day, day + timedelta(days=1))) == -250_000_000
    cut = asyncio.run(exports.files.billed_total(day + timedelta(hours=1), day + timedelta(days=1)))
    assert isinstance(cut, str)
    assert "lies only partly in the window" in cut


FOCUS_ROW = {
    "BilledCost": "0.0625",
    "BillingCurrency": "EUR",
    "ChargePeriodStart": "2026-11-24T08:00:00Z",
    "ChargePeriodEnd": "2026-11-24T09:00:00Z",
    "ResourceId": "i-0abc",
    "ChargeCategory": "Usage",
    "ResourceName": "gpu",
    "ResourceType": "Virtual Machine",
    "ServiceCategory": "Compute",
}


def focus(**changes: str) -> str:
    cells = {**FOCUS_ROW, **changes}
    return f"{','.join(cells)}\n{','.join(cells.values())}\n"


@pytest.mark.parametrize(
    ("changes", "kind", "id_"),
    [
        ({}, ResourceKind.INSTANCE, "i-0abc"),
        ({"ServiceCategory": "Storage"}, ResourceKind.VOLUME, "i-0abc"),
        ({"ServiceCategory": "Databases"}, ResourceKind.OTHER, "i-0abc"),
        ({"ServiceCategory": "Compute", "ResourceType": "EBS Volume"}, ResourceKind.VOLUME, "i-0abc"),
        ({"ServiceCategory": "Other", "ResourceId": "gpu-1"}, ResourceKind.INSTANCE, "gpu-1"),
        ({"ResourceId": "", "ChargeCategory": "Credit", "BilledCost": "-3"}, ResourceKind.OTHER, "account"),
    ],
)
def test_focus_rows_are_resources_of_a_kind(changes: dict[str, str], kind: ResourceKind, id_: str) -> None:
    charges, problems = read_charges(focus(**changes), {"gpu-1": ResourceKind.INSTANCE})
    assert not problems
    assert [one.ref for one in charges] == [Ref(kind, id_)]
    assert charges[0].currency == "EUR"
    assert charges[0].amount == Decimal(changes.get("BilledCost", "0.0625"))


def test_tax_is_not_ours_to_count() -> None:
    assert read_charges(focus(ChargeCategory="Tax"), {}) == ([], [])


def test_our_own_focus_export_reads_back_to_the_nano_unit() -> None:
    from console.export.focus import Charge, focus_lines
    from store.window import Edges

    charge = Charge(
        start_at=NOW,
        end_at=NOW + timedelta(hours=1),
        edges=Edges(NOW, NOW + timedelta(hours=1), since=False),
        tier="h100",
        provider="cloud",
        provider_kind="hyperstack",
        resource_kind="instance",
        resource_id="8429",
        resource_name="h100-a",
        currency="USD",
        nusd=2_000_000_001,
        is_credit=False,
        is_correction=False,
        counter="c",
        cumulative_nusd=2_000_000_001,
        sample_state="complete",
    )
    import csv
    import io

    out = io.StringIO()
    csv.writer(out).writerows(focus_lines([charge], "1.2"))
    (found,), problems = read_charges(out.getvalue(), {})
    assert not problems
    assert (found.ref, parse_nusd(str(found.amount))) == (Ref(ResourceKind.INSTANCE, "8429"), 2_000_000_001)


CELLS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["gpu-1", "instance", "2026-11-23", "2026-11-24T00:00:00Z", "1.5", "-2", "1e400", "USD", "Usage"]
    ),
)
HEADERS = st.sampled_from([SIMPLE, FOCUS, (*FOCUS, "ServiceCategory")])


@st.composite
def csv_texts(draw: st.DrawFn) -> str:
    header = draw(HEADERS)
    rows = draw(st.lists(st.lists(CELLS, min_size=len(header), max_size=len(header)), max_size=4))
    return "\n".join(",".join(cells) for cells in [header, *rows])


@given(st.one_of(st.text(), csv_texts(), st.binary().map(lambda raw: raw.decode("latin-1"))))
def test_whatever_a_file_holds_it_is_charges_or_problems(text: str) -> None:
    charges, problems = read_charges(text, {})
    for one in charges:
        assert one.amount.is_finite()
        assert one.start < one.end
        assert str(one.amount).lstrip("-").replace("E+", "").strip("0.") == "" or one.amount != 0
    for problem in problems:
        assert "\n" not in problem
        assert problem.isprintable()


AMOUNTS = st.decimals(-(10**6), 10**6, allow_nan=False, places=12)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["gpu-1", "gpu-2"]), AMOUNTS), min_size=1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_last_statement_by_name_is_what_is_told_exactly(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, Decimal]]
) -> None:
    exports = Exports(tmp_path_factory.mktemp("files") / "exports", SetClock(NOW))
    truth: dict[str, tuple[str, Decimal]] = {}
    for name, resource, amount in rows:
        before = truth.get(resource, ("", Decimal(0)))
        if name >= before[0]:
            truth[resource] = (name, amount + (before[1] if name == before[0] else 0))
    for name in {name for name, _, _ in rows}:
        lines = [row(str(amount), resource=resource) for file, resource, amount in rows if file == name]
        exports.write(f"{name}.csv", HEAD + "".join(lines))
    assert {key[:5]: Decimal(raw) for key, raw in exports.totals().items()} == {
        resource: amount for resource, (_, amount) in truth.items()
    }


@given(st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_bytes_in_the_folder_raise_nothing_and_bill_nothing(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    exports = Exports(tmp_path_factory.mktemp("files") / "exports", SetClock(NOW))
    exports.write("a.csv", HEAD + row("40"))
    exports.write("b.csv", raw)
    exports.write("c.csv.gz", raw)
    items, problems = exports.bills()
    assert items == {} or not problems
    assert problems
