"""Which storage outlives a sleep."""

import subprocess
import sys
from pathlib import Path

import pytest

from agent.storage import read_mounts, why_vanishing
from tests.agent.conftest import SERVE, write_settings

# written in the shape of proc_pid_mountinfo(5)
MOUNTS = read_mounts(
    "22 1 253:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n"
    "25 22 0:23 / /dev/shm rw,nosuid shared:5 - tmpfs tmpfs rw\n"
    "26 22 0:24 / /tmp rw,nosuid - tmpfs tmpfs rw,size=10%\n"
    "27 22 253:16 / /srv/my\\040models rw - ext4 /dev/vdb rw\n"
    "28 22 253:32 / /ephemeral rw - ext4 /dev/vdc rw\n"
    "29 26 253:48 / /tmp/kept rw - xfs /dev/vdd rw\n"
)
CONTAINER = read_mounts("1 0 0:50 / / rw - overlay overlay rw\n2 1 253:1 /data /data rw - ext4 /dev/vda rw\n")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/var/lib/mtok/ledger.db", None),
        ("/srv/my models/tiny", None),
        ("/tmp/ledger.db", "in memory"),
        ("/tmp/kept/ledger.db", None),
        ("/dev/shm/x", "sleeping destroys"),
        ("/ephemeral/ledger.db", "sleeping destroys"),
        ("/ephemerally/ledger.db", None),
        ("/scratch/a", "/scratch is storage that sleeping destroys"),
    ],
)
def test_a_path_is_judged_by_the_mount_that_holds_it(path: str, reason: str | None) -> None:
    found = why_vanishing(Path(path), MOUNTS, [Path("/scratch")])
    assert found is None if reason is None else found is not None and reason in found


def test_a_containers_root_goes_with_it_but_its_volumes_stay() -> None:
    assert "overlay" in (why_vanishing(Path("/ledger.db"), CONTAINER) or "")
    assert why_vanishing(Path("/data/ledger.db"), CONTAINER) is None


@pytest.mark.skipif(sys.platform != "linux", reason="not run: needs Linux")
def test_check_refuses_a_ledger_that_a_sleep_destroys(tmp_path: Path, model_dir: Path) -> None:
    settings = write_settings(tmp_path, model_dir, f'vanishing_paths = ["{tmp_path}"]\n')
    done = check(settings)
    assert done.returncode == 1
    assert "ledger.db" in done.stderr
    assert "sleeping destroys" in done.stderr
    settings.write_text(settings.read_text() + "allow_vanishing = true\n")
    done = check(settings)
    assert done.returncode == 0, done.stderr
    assert "model     ok" in done.stdout


def check(settings: Path) -> "subprocess.CompletedProcess[str]":
    command = [*SERVE[:3], "check", "--config", str(settings)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
