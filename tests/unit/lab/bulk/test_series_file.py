"""A file of a series that was damaged on its way is told, and never read as something else."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from flopmeter.lab.bulk.metering import meter_file
from flopmeter.lab.bulk.series_file import MAGIC, SeriesReader
from flopmeter_core.errors import DataError, UsageError
from support.telemetry import DEVICE, pack_rows, rows_of


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A whole file."""
    rows = {DEVICE: rows_of(1, 30)}
    return pack_rows(tmp_path_factory.mktemp("whole"), rows).files[DEVICE].read_bytes()


def read(content: bytes) -> int:
    """Rows of all blocks."""
    reader = SeriesReader(io.BytesIO(content), "a series")
    return sum(block.rows for block in reader.blocks())


def test_every_flipped_bit_is_noticed(content: bytes) -> None:
    """Whichever byte was changed, nothing of the file passes for a series."""
    assert read(content) == 30
    for place in range(0, len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0x40
        with pytest.raises(DataError, match="a series"):
            read(bytes(damaged))


def test_every_cut_is_noticed(content: bytes) -> None:
    """A file without its end is no whole series, wherever it was cut."""
    for length in range(len(content)):
        with pytest.raises(DataError, match="a series"):
            read(content[:length])


def test_what_never_was_a_series_is_told(tmp_path: Path) -> None:
    """Another file is refused in one sentence."""
    other = tmp_path / "x.fmseries"
    other.write_bytes(b"time_ns,device\n")
    with pytest.raises(DataError, match="does not begin like one"):
        meter_file(other)
    with pytest.raises(UsageError, match="cannot be read"):
        meter_file(tmp_path / "missing.fmseries")


def test_a_newer_format_is_told(content: bytes) -> None:
    """A head of a version that is not known names the version."""
    reader = SeriesReader(io.BytesIO(content), "a series")
    assert reader.offset > len(MAGIC)
    head = {"format_version": 2}
    from flopmeter.lab.bulk.series_file import head_of

    with pytest.raises(DataError, match="has format 2 and this flopmeter reads 1"):
        head_of(head, "a series")
