"""An invoice's file, as people hand it over: cut off, in two currencies, over two providers."""

import gzip
from pathlib import Path

import pytest

from console.reconcile import read_invoice
from store.errors import SettingsError

HEADER = "resource_type,resource_id,amount\n"


def test_a_compressed_invoice_that_is_cut_off_or_damaged_is_one_line(tmp_path: Path) -> None:
    packed = gzip.compress((HEADER + "instance,8429,2.5\n" * 500).encode())
    path = tmp_path / "invoice.csv.gz"
    for raw in (packed[:-20], packed[:20] + b"\xff" * 40, b"no gzip"):
        path.write_bytes(raw)
        with pytest.raises(SettingsError, match=r"cannot be read: .*; check the file"):
            read_invoice(path)
