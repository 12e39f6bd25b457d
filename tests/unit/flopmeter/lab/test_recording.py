"""The file of a recording: what goes in comes out, and damage is named and survived."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter.lab import recording
from flopmeter.lab.recording import (
    BEGIN,
    END,
    MAGIC,
    FailureNote,
    Header,
    Mark,
    Recorded,
    RecordingWriter,
    Row,
    decode,
)
from flopmeter.lab.recording_rows import double_of, gpm_metrics, reading_of, row_of
from flopmeter_core.devices import DeviceRecord, EnergyScope
from flopmeter_core.errors import DataError, InvariantError
from flopmeter_core.readings import Reading
from flopmeter_core.registers import Component, Evidence
from flopmeter_core.units import NS_PER_S

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
ROWS = st.dictionaries(st.sampled_from(["a", "b", "gpm.5", "clock_khz"]), INT64, max_size=4)
ROUNDS = st.lists(st.dictionaries(st.sampled_from(["GPU-0", "GPU-1"]), ROWS), max_size=40)


def header() -> Header:
    """A header with every field set."""
    return Header(
        node="n1",
        boot_id="b",
        wall_ns=1_790_000_000 * NS_PER_S,
        monotonic_ns=5 * NS_PER_S,
        boottime_ns=6 * NS_PER_S,
        period_ns=NS_PER_S // 10,
        sensor="nvml",
        sensor_reason="a test",
        driver_version="595.1",
        simulated=True,
        software="0.1.0",
    )


def records() -> tuple[DeviceRecord, ...]:
    """Two devices."""
    return tuple(
        DeviceRecord("n1", f"GPU-{place}", "nvidia", "H200", energy_scope=EnergyScope.GPU)
        for place in range(2)
    )


def written(rounds: list[dict[str, Row]], *, rounds_per_block: int = 3) -> bytes:
    """A recording of these rounds, one a second."""
    stream = io.BytesIO()
    writer = RecordingWriter(stream, header(), rounds_per_block=rounds_per_block)
    writer.devices(records())
    for place, rows in enumerate(rounds):
        writer.round(place * NS_PER_S, place * NS_PER_S + 1, rows)
    writer.end()
    return stream.getvalue()


def read(content: bytes) -> Recorded:
    """Decode bytes."""
    return decode(io.BytesIO(content), name="x.fmrec")


def plain(count: int) -> list[dict[str, Row]]:
    """Rounds with a row of each device."""
    return [{f"GPU-{d}": {"a": place * 7 + d, "b": 3} for d in range(2)} for place in range(count)]


@given(ROUNDS, st.integers(1, 5))
def test_round_trip(rounds: list[dict[str, Row]], rounds_per_block: int) -> None:
    """Any int64 in any column, absent or not, comes back; rounds keep their times."""
    found = read(written(rounds, rounds_per_block=rounds_per_block))
    assert found.header == header()
    assert found.records == [records()]
    assert found.cut_at_byte is None
    assert [row[BEGIN] for row in found.rounds] == [n * NS_PER_S for n in range(len(rounds))]
    assert [row[END] for row in found.rounds] == [n * NS_PER_S + 1 for n in range(len(rounds))]
    for device in ("GPU-0", "GPU-1"):
        assert found.rows.get(device, []) == [rows[device] for rows in rounds if device in rows]


def test_notes() -> None:
    """Failures and marks come back in order; equal records are written once."""
    stream = io.BytesIO()
    writer = RecordingWriter(stream, header())
    notes = [FailureNote(1, "GPU-0", "lost"), FailureNote(2, "GPU-0", "")]
    for _ in range(3):
        writer.devices(records())
    for note in notes:
        writer.failure(note)
    writer.mark(Mark(3, "command_started"))
    writer.end()
    found = read(stream.getvalue())
    assert (found.failures, found.marks) == (notes, [Mark(3, "command_started", "")])
    assert len(found.records) == 1


def test_too_large() -> None:
    """A number that is no int64 is a defect of the writer, not a silent wrap."""
    with pytest.raises(InvariantError, match="int64"):
        written([{"GPU-0": {"a": 1 << 63}}])


def test_cut_anywhere() -> None:
    """Cut at any byte, what is read is a prefix of whole rounds, or nothing survives."""
    whole = written(plain(10))
    full = read(whole)
    reached = set()
    for length in range(len(whole)):
        if length < len(MAGIC):
            with pytest.raises(DataError, match="no recording"):
                read(whole[:length])
            continue
        try:
            found = read(whole[:length])
        except DataError as error:
            assert "cut off within its header; nothing survives" in str(error)
            continue
        assert found.cut_at_byte is not None
        assert found.cut_at_byte <= length
        count = len(found.rounds)
        reached.add(count)
        assert found.rounds == full.rounds[:count]
        for device, rows in full.rows.items():
            assert found.rows.get(device, []) == rows[:count]
    assert reached == {0, 3, 6, 9, 10}


def test_garbled_anywhere() -> None:
    """A changed byte is found, wherever it is, and the sentence names a byte before it."""
    whole = written(plain(10))
    for place in range(len(MAGIC), len(whole)):
        garbled = bytearray(whole)
        garbled[place] ^= 0x10
        try:
            found = read(bytes(garbled))
        except DataError as error:
            offset = int(str(error).split("at byte ")[1].split(":")[0])
            assert offset <= place
            continue
        # A length that grew looks like a cut; nothing beyond it is believed.
        assert found.cut_at_byte is not None
        assert found.cut_at_byte <= place


def test_garbled_sentence() -> None:
    """The sentence says how much is intact, and the command it names gives just that."""
    whole = bytearray(written(plain(10)))
    whole[-40] ^= 1
    with pytest.raises(DataError, match=r"9 rounds of readings over 8\.0 s before it") as caught:
        read(bytes(whole))
    offset = int(str(caught.value).split("head -c ")[1].split("`")[0])
    assert len(read(bytes(whole[:offset])).rounds) == 9


def frame(kind: bytes, payload: bytes) -> bytes:
    """A frame as it should be written."""
    packed = zlib.compress(payload)
    return recording._FRAME.pack(kind, len(packed), zlib.crc32(kind + packed)) + packed


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "no recording"),
        (b"PK\x03\x04 something else entirely", "no recording"),
        (MAGIC + frame(b"D", b"{}"), "does not begin with its header"),
        (MAGIC + frame(b"H", b"[1"), "not understood"),
        (MAGIC + frame(b"H", b'{"format_version": 2}'), "format 2 and this flopmeter reads 1"),
        (MAGIC + frame(b"H", b'{"format_version": 1}'), "not understood"),
        (MAGIC + frame(b"X", b""), "does not begin with its header"),
        (MAGIC + recording._FRAME.pack(b"H", 1 << 31, 0), "claims 2147483648 bytes"),
        (MAGIC + frame(b"H", b" " * ((64 << 20) + 1)), "more than a frame may hold"),
    ],
)
def test_refused(content: bytes, sentence: str) -> None:
    """What is no recording, of another format or built to exhaust memory ends in one sentence."""
    with pytest.raises(DataError, match=sentence) as caught:
        read(content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "extra",
    [
        frame(b"X", b""),
        frame(b"S", recording._BLOCK.pack(9, 1)),
        frame(b"S", recording._BLOCK.pack(0, 4_000_000_000)),
        frame(b"M", b'{"what": "x", "other": 1}'),
        frame(b"D", b'{"records": [{"node": 1}]}'),
    ],
)
def test_refused_frame(extra: bytes) -> None:
    """A frame with a good checksum and a wrong content is refused with its place."""
    start = written(plain(10))[: -len(frame(b"E", b""))]
    with pytest.raises(DataError, match=r"at byte \d+|stored device record"):
        read(start + extra)


def test_reading_round_trip() -> None:
    """A reading comes back as it was, with and without each quantity."""
    full = Reading(
        device="GPU-0",
        evidence=Evidence.CYCLES,
        monotonic_ns=1,
        boottime_ns=2,
        cycles={Component.TENSOR_MEGACYCLES: 3},
        energy_mj=0,
        activity_ppm={Component.HMMA_MEGACYCLES: 4},
        clock_khz=5,
        power_mw=6,
        busy_ppm=7,
    )
    assert reading_of("GPU-0", row_of(full)) == full
    bare = Reading("GPU-0", Evidence.ALLOCATION, 1, 2)
    assert reading_of("GPU-0", row_of(bare)) == bare


def bits_of(double: float) -> int:
    """A double as the int64 with the same bits."""
    (bits,) = struct.unpack("<q", struct.pack("<d", double))
    return int(bits)


@given(st.floats(allow_nan=False))
def test_doubles(number: float) -> None:
    """A double comes back bit for bit; one the driver marked as an error is no value."""
    assert double_of(bits_of(number)) == number
    row = {"gpm.5": bits_of(number), "gpm_return.5": 0, "gpm.6": 0, "gpm_return.6": 3}
    assert gpm_metrics(row) == {5: number}


def test_compact() -> None:
    """A steady device at 10 Hz for a minute takes less than 100 bytes a round."""
    row = {f"gpm.{place}": bits_of(place / 3) for place in range(40)}
    rounds: list[dict[str, Row]] = [
        {"GPU-0": {**row, "monotonic_ns": n * 100_003_117, "energy_mj": n * 69_312}}
        for n in range(600)
    ]
    assert len(written(rounds, rounds_per_block=10)) < 100 * len(rounds)
