"""Vast.ai's bodies: every example of the official document, and what is no body."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from console.providers.vast_listing import instance, volume
from console.providers.vast_wire import body_of, charge_row, instance_row, next_token, told, volume_row
from console.providers.wire import Number, Unreadable, rows_of
from store.words import ResourceKind, State
from tests.console.providers.vast_account import charge

READ = {
    ("get", "/api/v0/charges"): "results",
    ("get", "/api/v1/instances"): "instances",
    ("get", "/api/v0/volumes"): "volumes",
}
ASKED = (*READ, ("get", "/api/v0/instances/{id}"), ("put", "/api/v0/instances/{id}"))


@pytest.fixture(scope="module")
def document(official: Path) -> dict[str, Any]:
    text = (official / "vast.json").read_text(encoding="utf-8")
    return json.loads(text, parse_float=Decimal)  # type: ignore[no-any-return]


def example_of(schema: dict[str, Any], document: dict[str, Any]) -> Any:
    """The example that a schema gives, put together from those of its parts where it has none of its own."""
    if "$ref" in schema:
        found = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return example_of(found, document)
    if "example" in schema:
        return schema["example"]
    if "properties" in schema:
        return {name: example_of(one, document) for name, one in schema["properties"].items()}
    return [example_of(schema["items"], document)] if "items" in schema else None


def text_of(example: Any) -> str:
    """The example as JSON text, its numbers digit by digit."""
    return json.dumps(example, default=lambda number: float(number))


def answers(document: dict[str, Any], method: str, path: str) -> dict[str, list[Any]]:
    """By status, every example answer of an operation."""
    found: dict[str, list[Any]] = {}
    for status, response in document["paths"][path][method]["responses"].items():
        content = response["content"]["application/json"]
        given = [one["value"] for one in content.get("examples", {}).values()]
        given += [content["example"]] if "example" in content else []
        found[status] = given or [example_of(content["schema"], document)]
    return found


@pytest.mark.official
@pytest.mark.parametrize(("method", "path"), READ)
def test_every_example_of_the_official_document_is_read(document: dict[str, Any], method: str, path: str) -> None:
    for example in answers(document, method, path)["200"]:
        body = body_of(text_of(example))
        (row,) = rows_of(body, READ[method, path])
        if path.endswith("charges"):
            charged = charge_row(row)
            assert (charged.amount.raw, charged.id, charged.name) == ("38.421", "12345678", "my-training-job")
            assert charged.nusd == 38_421_000_000
            assert next_token(body) == example["next_token"]
        elif path.endswith("instances"):
            machine = instance(instance_row(row))
            assert (machine.ref.id, machine.state, machine.address) == ("312", State.RUNNING, "192.0.2.45")
        else:
            with pytest.raises(Unreadable, match="'id'"):  # its only example is of a shape: it has no numbers
                volume_row(row)


@pytest.mark.official
def test_the_example_of_a_single_instance_is_read(document: dict[str, Any]) -> None:
    (example,) = answers(document, "get", "/api/v0/instances/{id}")["200"]
    row = instance_row(body_of(text_of(example))["instances"])
    assert (row.actual, row.dph) == ("running", Number("1.0020740740740741"))


@pytest.mark.official
@pytest.mark.parametrize(("method", "path"), ASKED)
def test_every_example_of_an_error_is_said_in_one_line(document: dict[str, Any], method: str, path: str) -> None:
    said = [one for status, given in answers(document, method, path).items() if status != "200" for one in given]
    assert said
    for body in said:
        assert told({name: one or "words" for name, one in body.items()})
        if body.get("success") is False:
            with pytest.raises(Unreadable, match="the provider says"):
                body_of(text_of(body))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "API requests too frequent",
        "[]",
        "null",
        '{"success": false, "msg": "no"}',
        '{"success": "yes"}',
        "{" * 9999,
    ],
)
def test_what_is_no_success_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        body_of(text)


@pytest.mark.parametrize(
    ("source", "kind", "id_"),
    [
        ("instance-12345678", ResourceKind.INSTANCE, "12345678"),
        ("volume-7", ResourceKind.VOLUME, "7"),
        ("endpoint-19392", ResourceKind.OTHER, "endpoint-19392"),
    ],
)
def test_a_source_says_what_is_charged(source: str, kind: ResourceKind, id_: str) -> None:
    row = charge_row(json.loads(charge(source=source), parse_float=Number, parse_int=Number))
    assert (row.kind, row.id) == (kind, id_)


@pytest.mark.parametrize(
    "change",
    [
        {"amount": "null"},
        {"amount": '"38.421"'},
        {"amount": "NaN"},
        {"amount": "-0.001"},
        {"amount": "9" * 400},
        {"source": '"instance"'},
        {"source": '"instance-٣"'},
        {"source": "12"},
        {"start": '"yesterday"'},
        {"start": "1e999"},
        {"end": "NaN"},
    ],
)
def test_a_row_whose_money_or_time_is_wrong_is_unreadable(change: dict[str, str]) -> None:
    fields = {"amount": "1.5", "source": '"instance-1"', "start": "1795500000", **change}
    text = "{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}"
    with pytest.raises(Unreadable):
        charge_row(json.loads(text, parse_float=Number, parse_int=Number, parse_constant=Number))


def test_a_volume_names_its_instance_and_a_label() -> None:
    row = json.loads('{"id": 7, "instances": [{"id": 12}], "status": "active"}', parse_int=Number)
    disk = volume(volume_row(row))
    assert (disk.name, disk.raw_state, disk.attached_to) == ("volume 7", "active", "12")
