"""Resources and wakes as lines: what is stated, what is not known, and nothing that a terminal would obey."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from console.tui.cells import Role, line, text_of, width_of
from console.tui.render.flow import beside, flowed, sentences
from console.tui.render.resources import resource_rows
from console.tui.render.wakes import wake_rows
from store.anatomy import Anatomy
from store.figures import Spend
from store.phases import OperationKind, Phase, Reached
from store.resources import BillView, ResourceView
from store.unknown import Unknown
from store.window import Edges

AT = datetime(2026, 11, 24, 8, tzinfo=UTC)


def bill(**fields: object) -> BillView:
    stated: dict[str, object] = {
        "counter_id": 7,
        "counter": "usage:vm:8429",
        "currency": "USD",
        "total_nusd": 10_233_333_333,
        "raw": "10.233333333",
        "opening_nusd": 0,
        "spent_nusd": 233_333_333,
        "read_at": AT,
        "as_of_at": AT,
        "first_seen_at": AT,
        "started_at": None,
        "moved_at": AT,
        "step": timedelta(minutes=5),
        "is_excluded": False,
        "unsettled_at": None,
        "final_at": None,
    }
    return BillView(**{**stated, **fields})  # type: ignore[arg-type]


def resource(*bills: BillView, **fields: object) -> ResourceView:
    stated: dict[str, object] = {
        "kind": "instance",
        "resource_id": "8429",
        "name": "h100-a",
        "state": "running",
        "raw_state": "ACTIVE",
        "address": "192.0.2.4",
        "rate_nusd_per_hour": 2 * 10**9,
        "state_since_at": AT,
        "seen_at": AT,
        "attached_to": None,
        "bills": bills,
    }
    return ResourceView(**{**stated, **fields})  # type: ignore[arg-type]


def told(*resources: ResourceView, width: int = 80) -> str:
    rows = resource_rows(resources, width)
    assert all(width_of(row) <= width for row in rows)
    return " ".join(" ".join(map(text_of, rows)).split())


def test_a_bill_stands_as_its_provider_states_it() -> None:
    text = told(resource(bill()))
    for part in (
        "instance 8429",
        "running (ACTIVE)",
        "192.0.2.4",
        "$2.00/h quoted",
        "10.233333333 USD",
        "every 5 min",
    ):
        assert part in text


def test_what_is_special_about_a_bill_is_said_in_words() -> None:
    text = told(resource(bill(unsettled_at=AT), bill(final_at=AT), bill(is_excluded=True)))
    for part in ("UNSETTLED since 11-24 08:00:00: mtok counter settle 7", "FINAL at 11-24 08:00:00", "EXCLUDED"):
        assert part in text


def test_bills_that_have_ended_do_not_crowd_out_the_rest() -> None:
    text = told(resource(*(bill(counter_id=n, counter=f"hour:{n}", final_at=AT) for n in range(20)), bill()))
    assert text.count("FINAL") == 2
    assert "and 18 older bills that have ended" in text
    assert "usage:vm:8429" in text


def test_what_is_not_known_of_a_resource_is_said() -> None:
    unread = bill(raw="", spent_nusd=Unknown("never read"), moved_at=None, step=Unknown("it has not moved twice"))
    text = told(resource(unread, state=Unknown("no inventory shows it"), rate_nusd_per_hour=Unknown("none")))
    for part in ("— (no inventory shows it)", "—/h quoted", "— never read", "step not known yet", "— (never read)"):
        assert part in text
    assert "none is known yet" in told()
    assert "no bill has been read yet" in told(resource())


def test_names_from_a_provider_obey_nobody_and_fit_any_width() -> None:
    for width in (40, 47, 120):
        text = told(resource(bill(counter="x" * 90), name="\x1b[2J[bold]evil"), width=width)
        assert "\x1b" not in text


def wake(outcome: str, seconds: int, **fields: object) -> Anatomy:
    reached = (
        Reached(Phase.REQUESTED, AT, timedelta(0)),
        Reached(Phase.RUNNING, AT, timedelta(seconds=seconds - 10)),
        Reached(Phase.FIRST_TOKEN, AT, timedelta(seconds=10)),
    )
    ended: dict[str, object] = {"finished_at": AT + timedelta(seconds=seconds), "detail": ""}
    return Anatomy(
        id=1,
        kind=OperationKind.WAKE,
        tier="h100",
        actor="ada",
        reason="",
        requested_at=AT,
        phase="done",
        outcome=outcome,
        calls=1,
        reached=reached,
        cost=Unknown("no complete tick since it ended"),
        **{**ended, **fields},  # type: ignore[arg-type]
    )


def test_past_wakes_have_their_phases_the_median_and_the_worst() -> None:
    rows = wake_rows([wake("done", 40), wake("done", 220), wake("failed", 600, detail="wake_timeout")], 60)
    text = "\n".join(map(text_of, rows))
    assert "WAKES (3)  median 2:10 min  worst 3:40 min" in text
    assert "running     2:00 min  worst 3:30 min" in text
    assert "failed in 10:00 min" in text
    assert "wake_timeout" in text
    assert "cost —" in text
    assert all(width_of(row) <= 60 for row in rows)


def test_a_wake_that_was_billed_in_euro_says_so() -> None:
    edges = Edges(AT, AT + timedelta(minutes=1), since=False)
    rows = wake_rows([replace(wake("done", 40), cost=Spend(50_000_000, "EUR", edges))], 80)
    assert any("cost €0.0500" in text_of(row) for row in rows)


def test_a_wake_under_way_is_not_a_past_one() -> None:
    rows = wake_rows([wake("", 40, finished_at=None)], 60)
    assert "none has ended yet" in text_of(rows[-1])


def test_two_columns_of_lines_stay_in_their_columns() -> None:
    rows = beside([line("a" * 30), line("b")], [line("right"), line("x" * 90), line("more")], 20, 60)
    assert [text_of(row)[:21].rstrip() for row in rows] == [f"{'a' * 19}…", "b", ""]
    assert [text_of(row)[21:26] for row in rows] == ["right", "xxxxx", "more"]
    assert all(width_of(row) <= 60 for row in rows)


def test_pieces_and_sentences_break_between_words() -> None:
    assert [text_of(row) for row in flowed(["one two", "three", "four"], 14)] == [" one two", "   three  four"]
    assert [text_of(row) for row in sentences(["a sentence that is far too long"], 24, Role.WARN, "!")] == [
        " ! a sentence that is",
        "   far too long",
    ]
