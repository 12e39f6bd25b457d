"""A file of a series that was damaged on its way is told, and never read as something else."""

from __future__ import annotations

import io
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from flopmeter.lab.bulk import series_file
from flopmeter.lab.bulk.metering import _Meter, meter_file
from flopmeter.lab.bulk.series_file import MAGIC, SeriesReader, head_of
from flopmeter_core.errors import DataError, UsageError
from support.telemetry import DEVICE, pack_rows, record_of, rows_of


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


# --- frames that carry their right checksum, and say what cannot be ------------------------------


def frame(kind: bytes, payload: bytes = b"", *, rows: int = 0, user: int = 0) -> bytes:
    """A frame as a writer makes it."""
    padded = payload + bytes(-len(payload) % 8)
    unsigned = series_file._FRAME.pack(kind, rows, len(payload), 0, user, 0)
    checksum = zlib.crc32(padded, zlib.crc32(unsigned))
    return series_file._FRAME.pack(kind, rows, len(payload), 0, user, checksum) + padded


def headed(content: bytes, *frames: bytes) -> bytes:
    """A series with the head of another one and these frames."""
    end = SeriesReader(io.BytesIO(content), "a series").offset
    return content[:end] + b"".join(frames)


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ([frame(b"MOON")], "a frame is of unknown kind b'MOON'"),
        ([frame(b"ROWS", bytes(8), rows=1)], "a block is of user 0, who was not introduced"),
        (
            [
                frame(b"USER", b'{"number": 0, "allocation": "none"}'),
                frame(b"ROWS", bytes(8), rows=1),
            ],
            "a block of 1 rows has 8 bytes",
        ),
        ([frame(b"USER", b"{")], "a frame's text is not understood"),
        ([frame(b"USER", b"[]")], "a frame's text is no object"),
    ],
)
def test_frames_that_cannot_be(content: bytes, frames: list[bytes], said: str) -> None:
    """Whoever writes series by other means is told the byte and what is wrong there."""
    with pytest.raises(DataError, match=f"a series is garbled at byte .*{said}"):
        read(headed(content, *frames))


HEAD = {
    "format_version": series_file.FORMAT_VERSION,
    "identity": "0" * 32,
    "record": record_of(DEVICE).to_json(),
    "epoch_ns": 0,
    "period_ns": 10**9,
    "evidence": "gpm",
    "columns": ["power_mw"],
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"identity": "x"}, "has the identity 'x'; 32 hexadecimal digits are one"),
        ({"columns": ["moon"]}, "has the columns moon; known are "),
        ({"columns": ["power_mw", "power_mw"]}, "has the columns power_mw, power_mw"),
        ({"period_ns": "soon"}, "has a head that is not understood"),
        ({"period_ns": 0}, "has a sampling period of 0 ns"),
        ({"evidence": "cycles"}, "is of rung cycles, which a series cannot hold"),
    ],
)
def test_heads_that_cannot_be(changes: dict[str, object], said: str) -> None:
    """Each field that nothing writes is named."""
    assert head_of(HEAD, "a series").identity == "0" * 32
    with pytest.raises(DataError, match=f"a series {said}"):
        head_of({**HEAD, **changes}, "a series")


def test_blocks_out_of_order(content: bytes) -> None:
    """Time does not go back from one block to the next, nor before the series' own beginning."""
    reader = SeriesReader(io.BytesIO(content), "a series")
    block = next(iter(reader.blocks()))
    with pytest.raises(DataError, match="has a block from before its own time 0"):
        _Meter(reader.head, "a series").take(replace(block, first_ns=-1))
    meter = _Meter(reader.head, "a series")
    meter.take(block)
    with pytest.raises(DataError, match="write the series in the order of time"):
        meter.take(replace(block, first_ns=block.first_ns))
