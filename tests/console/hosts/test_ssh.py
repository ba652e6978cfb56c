"""A host over SSH, against a real OpenSSH server: who is let in, who is believed, and what happens when it dies."""

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from console.errors import HostKeyRefused, HostUnreachable
from console.hosts.host import SshHost
from console.hosts.known_hosts import accept_key, known_keys
from console.hosts.target import SshTarget
from store.errors import SettingsError
from tests.sshd import Sshd, fingerprint_of, make_key, running_agent, running_sshd


@contextlib.asynccontextmanager
async def host_at(target: SshTarget) -> AsyncIterator[SshHost]:
    host = SshHost("h100-a", target)
    try:
        yield host
    finally:
        await host.close()


async def test_a_command_gives_its_output_and_its_exit_code(sshd: Sshd) -> None:
    async with host_at(sshd.target()) as host:
        assert await host.reach() is None
        ran = await host.run("echo one; echo two >&2; exit 3", within_s=30)
        assert (ran.stdout, ran.exit_code) == ("one\n", 3)
        assert ran.stderr.endswith("two\n")  # what a user's own shell says first is theirs
        big = await host.run("head -c 3000000 /dev/zero | tr '\\0' x; head -c 100000 /dev/zero >&2", within_s=30)
        assert len(big.stdout) == 1_000_000


async def test_one_connection_serves_everybody(sshd: Sshd) -> None:
    async with host_at(sshd.target()) as host:
        ran = await asyncio.gather(*(host.run(f"echo {n}", within_s=30) for n in range(8)))
        assert [one.stdout.strip() for one in ran] == [str(n) for n in range(8)]
        assert len(sshd.sessions()) == 1


async def test_an_unknown_key_is_refused_with_how_to_accept_it(sshd: Sshd) -> None:
    (sshd.folder / "known_hosts").unlink()
    async with host_at(sshd.target()) as host:
        with pytest.raises(HostKeyRefused) as caught:
            await host.run("true", within_s=30)
        assert await host.reach() is not None
    fingerprint = fingerprint_of(sshd.folder / "host.pub")
    message = str(caught.value)
    assert "\n" not in message
    assert f"mtok host trust h100-a --fingerprint {fingerprint}" in message
    assert not caught.value.is_changed
    assert not (sshd.folder / "known_hosts").exists()


async def test_a_changed_key_is_refused(sshd: Sshd, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other")
    (sshd.folder / "known_hosts").write_text(f"8429 {other}\n", encoding="utf-8")
    async with host_at(sshd.target()) as host:
        with pytest.raises(HostKeyRefused, match="is not the one that is known") as caught:
            await host.run("true", within_s=30)
    assert caught.value.is_changed
    assert caught.value.key == sshd.host_key


async def test_a_revoked_key_is_refused_even_where_it_is_known(sshd: Sshd) -> None:
    text = f"8429 {sshd.host_key}\n@revoked * {sshd.host_key}\n"
    (sshd.folder / "known_hosts").write_text(text, encoding="utf-8")
    async with host_at(sshd.target()) as host:
        assert "revoked" in (await host.reach() or "")


async def test_a_key_is_known_by_its_alias_and_not_by_its_address(sshd: Sshd) -> None:
    (sshd.folder / "known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {sshd.host_key}\n", encoding="utf-8")
    async with host_at(sshd.target()) as host:
        assert "the host key of 8429" in (await host.reach() or "")


async def test_a_wrong_user_key_is_named(sshd: Sshd, tmp_path: Path) -> None:
    make_key(tmp_path / "stranger")
    async with host_at(sshd.target(key_file=tmp_path / "stranger")) as host:
        with pytest.raises(HostUnreachable) as caught:
            await host.run("true", within_s=30)
    assert f"key {tmp_path / 'stranger'} is refused" in str(caught.value)
    assert "authorized_keys" in str(caught.value)


async def test_an_encrypted_key_says_what_to_do(sshd: Sshd, tmp_path: Path) -> None:
    make_key(tmp_path / "locked", passphrase="open sesame")
    async with host_at(sshd.target(key_file=tmp_path / "locked")) as host:
        problem = await host.reach() or ""
    assert f"key {tmp_path / 'locked'} is encrypted" in problem
    assert f"ssh-add {tmp_path / 'locked'}" in problem
    assert "sesame" not in problem


@pytest.mark.parametrize(("text", "says"), [(None, "cannot be read"), ("no key\n", "no private key")])
async def test_a_key_file_that_cannot_be_used_is_named(
    sshd: Sshd, tmp_path: Path, text: str | None, says: str
) -> None:
    if text is not None:
        (tmp_path / "key").write_text(text, encoding="utf-8")
    async with host_at(sshd.target(key_file=tmp_path / "key")) as host:
        assert says in (await host.reach() or "")


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
async def test_the_agent_offers_its_keys(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    public = make_key(tmp_path / "carried", kind=kind)
    (sshd.folder / "authorized").write_text(f"{public}\n", encoding="utf-8")
    with running_agent(tmp_path / "agent.sock", tmp_path / "carried"):
        (tmp_path / "carried").unlink()
        monkeypatch.setenv("SSH_AUTH_SOCK", os.fspath(tmp_path / "agent.sock"))
        async with host_at(sshd.target(key_file=None)) as host:
            assert await host.reach() is None


async def test_the_ssh_config_is_honoured(sshd: Sshd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        f"Host h100-*\n  HostName 127.0.0.1\n  Port {sshd.port}\n  IdentityFile {sshd.folder / 'user'}\n",
        encoding="utf-8",
    )
    async with host_at(sshd.target(address=None, port=None, key_file=None, config_file=config)) as host:
        assert await host.reach() is None


async def test_an_ssh_config_that_cannot_be_used_is_one_line(sshd: Sshd, tmp_path: Path) -> None:
    for text in ("Host *\n  ProxyCommand nc %h %p\n", "???\n"):
        (tmp_path / "config").write_text(text, encoding="utf-8")
        async with host_at(sshd.target(config_file=tmp_path / "config")) as host:
            assert str(tmp_path / "config") in (await host.reach() or "")


async def test_an_identity_file_that_cannot_be_looked_for_is_one_line(sshd: Sshd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(f"Host *\n  IdentityFile {'k' * 300}\n", encoding="utf-8")  # no file's name is so long
    async with host_at(sshd.target(key_file=None, config_file=config)) as host:
        assert "cannot be read: File name too long" in (await host.reach() or "")


async def test_a_way_that_cannot_be_worked_out_is_one_line(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError(4711)  # a user without a name, as containers have

    target = sshd.target(proxy_jump="jump")
    monkeypatch.setattr("getpass.getuser", nobody)
    async with host_at(target) as host:
        assert await host.reach() == "its way leads nowhere: 4711"


async def test_a_host_behind_a_jump_host_is_reached_and_both_keys_are_checked(sshd: Sshd, tmp_path: Path) -> None:
    with running_sshd(tmp_path / "jump") as jump:
        (jump.folder / "authorized").write_bytes((sshd.folder / "authorized").read_bytes())
        known = sshd.folder / "known_hosts"
        spec = f"{sshd.target().user}@127.0.0.1:{jump.port}"
        async with host_at(sshd.target(proxy_jump=spec)) as host:
            with pytest.raises(HostKeyRefused) as caught:
                await host.run("true", within_s=30)
            assert caught.value.alias == f"[127.0.0.1]:{jump.port}"
        with known.open("a", encoding="utf-8") as file:
            file.write(f"[127.0.0.1]:{jump.port} {jump.host_key}\n")
        async with host_at(sshd.target(proxy_jump=spec)) as host:
            assert (await host.run("echo $SSH_CONNECTION", within_s=30)).exit_code == 0
            assert len(jump.sessions()) == 1
            jump.kill_sessions()
            await until_lost(host)
            assert await host.reach() is None


async def until_lost(host: SshHost) -> None:
    connection = await host.connection()
    for _ in range(100):
        if not connection.is_up:
            return
        await asyncio.sleep(0.05)
    pytest.fail("nobody notices that the connection is gone")


async def test_a_command_whose_server_dies_ends_at_once_and_the_next_connects_again(sshd: Sshd) -> None:
    async with host_at(sshd.target()) as host:
        await host.run("true", within_s=30)
        running = asyncio.create_task(host.run("sleep 60", within_s=40))
        await asyncio.sleep(0.5)
        begun = time.monotonic()
        sshd.kill_sessions()
        with pytest.raises(HostUnreachable, match="was lost"):
            await running
        assert time.monotonic() - begun < 15
        assert (await host.run("echo again", within_s=30)).stdout == "again\n"


async def test_a_command_that_takes_too_long_is_given_up(sshd: Sshd) -> None:
    async with host_at(sshd.target()) as host:
        with pytest.raises(HostUnreachable, match=r"did not end within 0\.5 s"):
            await host.run("sleep 30", within_s=0.5)
        assert (await host.run("echo fine", within_s=30)).stdout == "fine\n"


async def test_pauses_grow_and_answer_at_once(sshd: Sshd) -> None:
    now_s = 0.0
    host = SshHost("h100-a", sshd.target(), monotonic_s=lambda: now_s)
    sshd.stop()
    assert "cannot connect" in (await host.reach() or "")
    sshd.start()
    try:
        assert "cannot connect" in (await host.reach() or "")  # within the pause: nothing is tried
        now_s += 1.0
        assert await host.reach() is None
    finally:
        await host.close()


async def test_the_pause_after_many_failures_is_half_a_minute(sshd: Sshd) -> None:
    now_s, tried_at_s = 0.0, []
    host = SshHost("h100-a", sshd.target(), monotonic_s=lambda: now_s)
    sshd.stop()
    for _ in range(120):
        before = host._attempt
        await host.reach()
        if host._attempt is not before:
            tried_at_s.append(now_s)
        now_s += 1.0
    assert [after - before for before, after in itertools.pairwise(tried_at_s)] == [
        *(1, 2, 4, 8, 16),
        *(30, 30),
    ]


async def test_another_address_is_another_connection(sshd: Sshd) -> None:
    async with host_at(sshd.target(address=None)) as host:
        assert "no address" in (await host.reach() or "")
        host.address = "127.0.0.1"
        assert await host.reach() is None
        first = await host.connection()
        host.address = "127.0.0.1"
        assert await host.connection() is first
        host.address = "localhost"
        second = await host.connection()
        assert second is not first
        await asyncio.sleep(0.2)
        assert not first.is_up


async def test_a_file_is_copied_whole_with_its_rights(sshd: Sshd, tmp_path: Path) -> None:
    async with host_at(sshd.target()) as host:
        for content in (os.urandom(500_000), b"shorter"):
            await host.put(os.fspath(tmp_path / "copied"), content, mode=0o600, within_s=30)
            assert (tmp_path / "copied").read_bytes() == content
            assert (tmp_path / "copied").stat().st_mode & 0o777 == 0o600
        with pytest.raises(HostUnreachable, match="cannot write"):
            await host.put(os.fspath(tmp_path / "none" / "there"), b"", mode=0o600, within_s=30)
        assert await host.reach() is None


async def test_lines_come_as_they_are_written(sshd: Sshd, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    async with host_at(sshd.target()) as host, asyncio.timeout(60):
        lines = host.lines(f"cat {tmp_path / 'fifo'}")
        with (tmp_path / "fifo").open("r+b", buffering=0) as fifo:
            fifo.write(b"one\ntw")
            assert await anext(lines) == "one"
            fifo.write(b"o\nthr\xc3")
            assert await anext(lines) == "two"
            fifo.write(b"\xa9e")
        assert [line async for line in lines] == ["thrée"]
        with pytest.raises(HostUnreachable, match="exit code 4"):
            [line async for line in host.lines("exit 4")]


async def test_lines_end_with_their_reader_or_with_their_server(sshd: Sshd) -> None:
    async with host_at(sshd.target()) as host:
        lines = host.lines("while sleep 0.1; do echo tick; done")
        assert await anext(lines) == "tick"
        await lines.aclose()
        lines = host.lines("while sleep 0.1; do echo tick; done")
        assert await anext(lines) == "tick"
        sshd.kill_sessions()
        with pytest.raises(HostUnreachable, match="was lost"):
            async for _ in lines:
                pass


async def test_a_limit_of_sessions_is_told_apart_from_a_lost_connection(tmp_path: Path) -> None:
    with running_sshd(tmp_path / "one", "MaxSessions 1") as sshd:
        async with host_at(sshd.target()) as host:
            lines = host.lines("while sleep 0.1; do echo tick; done")
            assert await anext(lines) == "tick"
            with pytest.raises(HostUnreachable, match=r"opens no more sessions.*MaxSessions"):
                await host.run("true", within_s=30)
            assert await anext(lines) == "tick"
            await lines.aclose()


async def test_a_server_that_stops_answering_is_left_and_connected_to_again(sshd: Sshd) -> None:
    async with host_at(sshd.target(connect_within_s=2.0)) as host:
        assert await host.reach() is None
        for pid in sshd.sessions():
            os.kill(pid, signal.SIGSTOP)
        with pytest.raises(HostUnreachable, match=r"no answer within 2 s on a connection that seemed up"):
            await host.run("true", within_s=30)
        assert (await host.run("echo again", within_s=30)).stdout == "again\n"


async def test_a_known_hosts_that_cannot_be_read_is_one_line(sshd: Sshd, tmp_path: Path) -> None:
    async with host_at(sshd.target(known_hosts_file=tmp_path)) as host:
        with pytest.raises(SettingsError, match="cannot read"):
            await host.run("true", within_s=30)


def test_keys_are_found_by_plain_and_by_hashed_names(sshd: Sshd, tmp_path: Path) -> None:
    path = tmp_path / "known"
    path.write_text(f"8429 {sshd.host_key}\n# said by hand\nother {sshd.host_key}\n", encoding="utf-8")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(path)], check=True, capture_output=True)
    assert "8429" not in path.read_text(encoding="utf-8").replace(sshd.host_key, "")
    assert known_keys(path, "8429") == ([sshd.host_key], [])
    assert known_keys(path, "8430") == ([], [])
    accept_key(path, "8429", "ssh-ed25519 AAAAnew")
    assert known_keys(path, "8429") == (["ssh-ed25519 AAAAnew"], [])
    assert known_keys(path, "other") == ([sshd.host_key], [])


async def test_a_line_that_never_ends_is_given_in_pieces(sshd: Sshd) -> None:
    async with host_at(sshd.target()) as host:
        lines = [line async for line in host.lines("head -c 1000000 /dev/zero | tr '\\0' x; echo; echo end")]
    assert lines[-1] == "end"
    assert sum(map(len, lines)) == 1_000_003
    assert max(map(len, lines)) < 200_000
