"""A screen that loads its parts while another thread begins to read: none of them gets half of a package."""

import subprocess
import sys

import pytest

_RACE = """
import contextlib, sys, threading, time, types

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("sqlalchemy"):
            time.sleep(0.01)

import console.loading
from console.queries import Queries
from console.tui.pages import make_page
from console.tui.view import View
sys.meta_path.insert(0, Slow())
failed = []

def read():
    try:
        Queries(lambda: None, types.SimpleNamespace(tier_specs=(), gate_policy=None, trend_step=None), None)._reader
    except Exception as error:
        failed.append(error)

reading = threading.Thread(target=read)
reading.start()
time.sleep({head_start_s})
try:
    make_page("Tier", View("ada"), lambda: ())
except Exception as error:
    failed.append(error)
reading.join()
print(repr(failed))
"""


@pytest.mark.parametrize("head_start_s", [0.0, 0.03])
def test_a_page_and_a_reading_are_loaded_at_once(head_start_s: float) -> None:
    code = _RACE.format(head_start_s=head_start_s)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert ran.stdout == "[]\n"
