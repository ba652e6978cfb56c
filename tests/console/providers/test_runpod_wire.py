"""RunPod's bodies: every example of the official document, and what is no body."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.providers.runpod_limits import windows
from console.providers.runpod_wire import (
    Bucket,
    Rows,
    account_of,
    body_of,
    families_of,
    pod_row,
    pods_of,
    records_of,
    volumes_of,
)
from console.providers.wire import Unreadable
from store.money import parse_nusd

ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=12,
)
PARSERS = (
    pods_of,
    volumes_of,
    lambda text: records_of(text, "podId", Bucket.HOUR),
    lambda text: families_of(text, Bucket.HOUR),
    lambda text: account_of(text, Bucket.HOUR),
)


def examples(document: dict[str, Any], path: str) -> list[str]:
    """The documented answers to a GET, as they would be sent."""
    content = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
    return [json.dumps(example["value"]) for example in content["examples"].values()]


@pytest.fixture(scope="module")
def document(official: Path) -> dict[str, Any]:
    return json.loads((official / "runpod.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


@pytest.mark.official
def test_every_example_of_a_bill_is_read_with_its_own_digits(document: dict[str, Any]) -> None:
    (pods,) = examples(document, "/v2/billing/pods")
    (record,) = records_of(pods, "podId", Bucket.DAY).records
    assert (record.owner, record.total.raw, record.start.isoformat()) == (
        "7h9k2m4n6p",
        "12.34",
        "2026-06-01T00:00:00+00:00",
    )
    (volumes,) = examples(document, "/v2/billing/network-volumes")
    (record,) = records_of(volumes, "networkVolumeId", Bucket.DAY).records
    assert (record.owner, record.total.nusd) == ("2q9m7x4c", 5_790_000_000)
    (account,) = examples(document, "/v2/billing")
    assert [one.total.raw for one in account_of(account, Bucket.DAY).records] == ["42.34"]
    families = {one.owner: one.total.raw for one in families_of(account, Bucket.DAY).records}
    assert families == {"serverless": "14.29", "endpoints": "3.21", "clusters": "3.04"}


@pytest.mark.official
def test_every_example_of_a_resource_is_read(document: dict[str, Any]) -> None:
    (listed,) = examples(document, "/v2/pods")
    (pod,) = pods_of(listed).pods
    assert (pod.id, pod.status, pod.actions) == (
        "7h9k2m4n6p",
        "RUNNING",
        frozenset({"stop", "restart", "terminate"}),
    )
    assert (pod.cost and pod.cost.raw, pod.address, pod.network_volume) == ("0.44", "195.26.233.3", None)
    assert (pod.disk_gb and pod.disk_gb.raw, pod.has_gpu, pod.is_locked) == ("20", True, False)
    (one,) = examples(document, "/v2/pods/{id}")
    assert pod_row(body_of(one)) == pod
    (volumes,) = examples(document, "/v2/network-volumes")
    (volume,) = volumes_of(volumes).volumes
    assert (volume.id, volume.name, volume.is_fast) == ("2q9m7x4c", "training-dataset", True)


@pytest.mark.official
def test_every_documented_problem_is_no_body(document: dict[str, Any]) -> None:
    found = [
        json.dumps(example["value"])
        for response in document["components"]["responses"].values()
        for content in response["content"].values()
        for example in content["examples"].values()
    ]
    assert len(found) >= 7
    for text in found:
        for parse in PARSERS:
            with pytest.raises(Unreadable):
                parse(text)


def test_secrets_in_a_pods_environment_are_not_kept() -> None:
    text = json.dumps({"pods": [{"id": "a", "status": "RUNNING", "actions": [], "env": {"HF_TOKEN": "hunter2"}}]})
    assert "hunter2" not in repr(pods_of(text))


def bill(total: str = "1.5", **changes: str) -> str:
    fields = {
        "startTime": '"2026-11-24T08:00:00Z"',
        "endTime": '"2026-11-24T09:00:00Z"',
        "podId": '"a"',
        "totalAmount": total,
        **changes,
    }
    row = "{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}"
    return f'{{"records": [{row}], "metadata": {{"recordCount": 1, "query": {{"bucketSize": "hour"}}}}}}'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (bill("NaN"), "not finite"),
        (bill("-0.01"), "negative"),
        (bill('"1.5"'), "no number"),
        (bill("null"), "no number"),
        (bill("true"), "no number"),
        (bill("1e40"), "larger"),
        (bill(startTime='"yesterday"'), "no instant"),
        (bill(startTime='"0001-01-01T00:00:00+14:00"'), "no instant"),
        (bill(podId='""'), "no text"),
    ],
)
def test_a_record_that_a_bill_cannot_rest_on_is_a_problem_and_no_zero(text: str, problem: str) -> None:
    read = records_of(text, "podId", Bucket.HOUR)
    assert read.records == ()
    assert len(read.problems) == 1
    assert problem in read.problems[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        "{}",
        bill().replace('"recordCount": 1', '"recordCount": 2'),
        bill().replace('"bucketSize": "hour"', '"bucketSize": "day"'),
    ],
)
def test_an_answer_that_lacks_records_or_has_other_buckets_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        records_of(text, "podId", Bucket.HOUR)


@given(st.data())
def test_whatever_is_sent_nothing_is_raised_and_no_bill_is_made_up(data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.one_of(ANYTHING, st.fixed_dictionaries({}, optional=FIELDS)), max_size=4))
    body = {
        **dict.fromkeys(("pods", "networkVolumes", "records"), rows),
        "metadata": {"recordCount": len(rows), "query": {"bucketSize": "hour"}},
    }
    text = json.dumps(body, default=str)
    for parse in PARSERS:
        read: Rows = parse(text)
        assert len(read.problems) + len(read.pods) + len(read.volumes) + len(read.records) >= bool(rows)
        for record in read.records:
            assert record.total.nusd == parse_nusd(record.total.raw) >= 0
            assert any({"totalAmount", "endpointAmount"} & row.keys() for row in rows if isinstance(row, dict))


FIELDS: dict[Any, st.SearchStrategy[Any]] = {
    "id": st.text(max_size=3),
    "status": st.sampled_from(["RUNNING", "EXITED", "?"]),
    "actions": st.lists(st.sampled_from(["stop", 1]), max_size=2),
    "podId": st.sampled_from(["a", "b"]),
    "startTime": st.sampled_from(["2026-11-24T08:00:00Z", "2026-11-24", "?"]),
    "endTime": st.sampled_from(["2026-11-24T09:00:00Z", None]),
    **{
        name: st.one_of(st.floats(), st.integers(-1, 3), st.none(), st.just("1"))
        for name in ("totalAmount", "endpointAmount", "clusterGpuAmount", "clusterDiskAmount")
    },
    "clusterNetworkingAmount": st.integers(0, 3),
    "cost": st.floats(),
    "mounts": ANYTHING,
    "ssh": ANYTHING,
    "gpu": ANYTHING,
}


@given(st.text(max_size=200))
def test_whatever_a_body_is_it_is_read_or_unreadable(text: str) -> None:
    for parse in PARSERS:
        with pytest.raises(Unreadable):
            parse(text)


@given(st.text(max_size=100))
def test_whatever_the_rate_limit_says_it_is_read(text: str) -> None:
    assert all(seconds >= 0 for seconds in windows(text).values())


def test_a_used_up_window_says_when_it_begins_anew() -> None:
    header = '"minute";r=0;t=12, "hour";r=2800;t=1812, "day";r=0;t=45012'
    assert windows(header) == {"minute": 12, "day": 45_012}
    assert windows('"minute";r=3;t=12') == {}
