"""`mtok provider list` and `check`, as an engineer runs them."""

import json

import pytest

from console import provider_commands
from console.cli import main
from console.providers.conformance import CHECKS
from console.providers.conformance_bench import Bench, Check, expect
from console.providers.registry import BUILT_IN


def test_every_kind_is_listed_with_what_is_known_of_its_bills(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["provider", "list", "--json"]) == 0
    kinds = {row["kind"]: row for row in json.loads(capsys.readouterr().out)["kinds"]}
    assert set(BUILT_IN) <= set(kinds)
    assert kinds["hyperstack"]["currency"] == "assumed"
    assert kinds["files"]["settings"] == ["corrections_for", "folder", "lag", "newest_within", "patterns"]
    assert main(["provider", "list"]) == 0
    assert "hyperstack" in capsys.readouterr().out


def test_a_check_prints_a_line_a_promise_and_fails_when_one_is_not_kept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_bench: Bench) -> None:
        expect(False, "it was seen to be broken")

    monkeypatch.setattr(provider_commands, "CHECKS", CHECKS[:2])
    assert main(["provider", "check", "simulator"]) == 0
    assert [line[:18] for line in capsys.readouterr().out.splitlines()] == [
        "ok      inventory:",
        "ok      counters: ",
    ]
    monkeypatch.setattr(provider_commands, "CHECKS", (*CHECKS[:1], Check("broken", "nothing breaks", broken)))
    assert main(["provider", "check", "hyperstack"]) == 1
    assert "FAILED  broken: nothing breaks: it was seen to be broken" in capsys.readouterr().out
    assert main(["provider", "check", "hyperstack", "--json"]) == 1
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert [one["kept"] for one in checks] == [True, False]


def test_a_kind_that_is_not_there_or_has_no_simulator_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["provider", "check", "nebula"]) == 2
    assert main(["provider", "check", "files"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert [
        line for line in err.splitlines() if "choose one of" in line or "no simulator" in line
    ] == err.splitlines()
