"""Where `mtok` begins."""

import subprocess
import sys

import pytest

_INTERRUPTED = """
import sys
class Ctrl_C:
    def find_spec(self, name, path, target=None):
        if name == "console.cli":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Ctrl_C())
from console.main import main
sys.exit(main())
"""


@pytest.mark.parametrize("command", ["console", "status"])
def test_ctrl_c_while_it_is_loaded_is_no_traceback(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED, command], capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
