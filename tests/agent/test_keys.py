"""Keys are shown once, stored as digests, and a change of their file is seen at once."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import KeyRefused
from agent.keys import Keys, create_key, read_keys, revoke_key
from store.errors import SettingsError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def test_a_key_is_known_by_its_digest_alone(path: Path) -> None:
    secret = create_key(path, "alice", tokens_per_day=1000)
    assert secret not in path.read_text()
    assert hashlib.sha256(secret.encode()).hexdigest() in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    keys = Keys("keys_file", path, looks_every_s=0)
    assert keys.label(secret) == "alice"
    assert keys.label(secret + "x") is None
    assert keys.label("") is None
    assert keys.limit("alice", "tokens_per_day") == 1000
    assert keys.limit("alice", "requests_per_minute") is None


def test_changes_are_seen_without_a_restart(path: Path) -> None:
    first = create_key(path, "alice")
    keys = Keys("keys_file", path, looks_every_s=0)
    second = create_key(path, "alice", requests_per_minute=3)
    assert keys.label(second) == keys.label(first) == "alice"
    assert keys.limit("alice", "requests_per_minute") == 3
    assert revoke_key(path, hashlib.sha256(first.encode()).hexdigest()[:12]) == 1
    assert (keys.label(first), keys.label(second)) == (None, "alice")
    assert revoke_key(path, "alice") == 1
    assert keys.label(second) is None


def test_comments_outlive_a_change(path: Path) -> None:
    path.write_text(f"# ours\n\nbob {'0' * 64} # by hand\n")
    create_key(path, "alice")
    revoke_key(path, "alice")
    assert path.read_text() == f"# ours\n\nbob {'0' * 64} # by hand\n"


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    path.symlink_to(tmp_path / "elsewhere/keys")
    secret = create_key(path, "alice")
    revoke_key(path, "alice")
    bob = create_key(path, "bob")
    assert path.is_symlink()
    assert [key.label for key in read_keys("keys_file", tmp_path / "elsewhere/keys")] == ["bob"]
    keys = Keys("keys_file", path, looks_every_s=0)
    assert (keys.label(secret), keys.label(bob)) == (None, "bob")


def test_a_file_that_breaks_while_it_is_used_changes_nothing(path: Path) -> None:
    secret = create_key(path, "alice")
    keys = Keys("keys_file", path, looks_every_s=0)
    path.write_text("alice nonsense\n")
    assert keys.label(secret) == "alice"
    path.unlink()
    assert keys.label(secret) == "alice"
    other = create_key(path, "bob")
    assert (keys.label(secret), keys.label(other)) == (None, "bob")


@pytest.mark.parametrize("label", ["", "mtok.probe", "two words", "a#b", "-", "x" * 65, "ü"])
def test_a_label_that_cannot_stand_in_the_file_is_refused(path: Path, label: str) -> None:
    with pytest.raises(KeyRefused):
        create_key(path, label)
    assert not path.exists() or path.read_text() == ""


def test_revoking_what_is_not_there_is_refused(path: Path) -> None:
    create_key(path, "alice")
    before = path.read_text()
    with pytest.raises(KeyRefused, match="no key of this label"):
        revoke_key(path, "bob")
    assert path.read_text() == before


@pytest.mark.parametrize(
    "line",
    [
        "alice",
        f"alice {'0' * 63}",
        f"mtok.x {'0' * 64}",
        f"a {'0' * 64} colour=1",
        f"a {'0' * 64} tokens_per_day=x",
    ],
)
def test_a_line_that_is_no_key_is_named(path: Path, line: str) -> None:
    path.write_text(f"# fine\n{line}\n")
    with pytest.raises(SettingsError, match="line 2"):
        read_keys("keys_file", path)


@given(st.text())
def test_no_text_is_a_key_by_accident(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("keys") / "keys"
    secret = create_key(path, "alice")
    assert Keys("keys_file", path, looks_every_s=0).label(text.encode("utf-8", "replace").decode()) == (
        "alice" if text == secret else None
    )
