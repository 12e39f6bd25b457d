"""The file of a recording: checksummed frames of delta-coded integer columns.

Owns: the format flopmeter/recording/1, both directions, and what a damaged file still holds.
May touch: the byte stream it is handed; no clock, no other file.
Called by lab.recorder (writing), importers.recording and lab.score (reading); docs/calibration.md
has the format for people.

A file is `MAGIC` and frames: kind (1 byte), length and CRC-32 (little-endian, 4 bytes each), then
that many bytes of zlib data. Kinds: H header, D device records, C the columns of a layout, S a
block of rows in a layout, F a failure, M a mark, E the orderly end. A round (one reading of all
devices) is a row of the layout without device; it comes after the rows of its devices and makes
them count, so that a file cut anywhere ends with a whole round.
"""

from __future__ import annotations

import itertools
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, BinaryIO

from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import DataError, invariant
from flopmeter_core.units import NS_PER_S

MAGIC = b"flopmeter/recording\n"
FORMAT_VERSION = 1

ROUND = ""
"""The layout of the rounds themselves: rows with `BEGIN` and `END`."""
BEGIN, END = "begin_ns", "end_ns"
"""CLOCK_MONOTONIC before and after a round of readings, in ns."""

Row = Mapping[str, int]
"""Column -> int64. A column that is absent was not said, which is not 0."""

_FRAME = struct.Struct("<cII")
_BLOCK = struct.Struct("<HI")
_FRAME_BYTES_MAXIMUM = 16 << 20
_PAYLOAD_BYTES_MAXIMUM = 64 << 20
_ROWS_MAXIMUM = 4_096
_INT64 = 1 << 64
_INT64_LIMIT = 1 << 63


@dataclass(frozen=True, slots=True)
class Header:
    """What a recording says of itself.

    Attributes:
        node: the node's name.
        boot_id: of the node; monotonic times of different boots cannot be compared.
        wall_ns, monotonic_ns, boottime_ns: the three clocks at one instant near the start.
        period_ns: the period readings were to be taken at.
        sensor, sensor_reason: which sensor, and why it.
        driver_version: of the driver.
        simulated: whether the readings are made up.
        software: version of flopmeter.
        format_version: of the file.
    """

    node: str
    boot_id: str
    wall_ns: int
    monotonic_ns: int
    boottime_ns: int
    period_ns: int
    sensor: str
    sensor_reason: str
    driver_version: str
    simulated: bool
    software: str
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True, slots=True)
class FailureNote:
    """From `monotonic_ns` on a device could not be read; an empty reason ends it."""

    monotonic_ns: int
    device: str
    reason: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Something the recorder knows beside the readings, such as a command's start."""

    monotonic_ns: int
    what: str
    detail: str = ""


@dataclass(slots=True)
class Recorded:
    """The content of a recording.

    Attributes:
        header: what it says of itself.
        records: the devices, as often as they were listed anew; the first is of the start.
        rounds: rows with `BEGIN` and `END`.
        rows: device -> its rows, in order.
        failures, marks: in order.
        cut_at_byte: where an incomplete file ends; None for one that was ended orderly.
    """

    header: Header
    records: list[tuple[DeviceRecord, ...]] = field(default_factory=list)
    rounds: list[Row] = field(default_factory=list)
    rows: dict[str, list[Row]] = field(default_factory=dict)
    failures: list[FailureNote] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    cut_at_byte: int | None = None

    @property
    def survivors(self) -> str:
        """How much there is, in words."""
        if not self.rounds:
            return "no round of readings"
        length_ns = self.rounds[-1][END] - self.rounds[0][BEGIN]
        return f"{len(self.rounds)} rounds of readings over {length_ns / NS_PER_S:.1f} s"


class RecordingWriter:
    """Writes one recording, a block of rounds at a time."""

    def __init__(self, stream: BinaryIO, header: Header, *, rounds_per_block: int = 10) -> None:
        """Write the header.

        Args:
            stream: takes the bytes; flushed after each block, closed by its owner.
            header: what the recording says of itself.
            rounds_per_block: how many rounds a kill may lose.
        """
        self._stream = stream
        self._rounds_per_block = rounds_per_block
        self._records: tuple[DeviceRecord, ...] = ()
        self._layouts: dict[tuple[str, tuple[str, ...]], int] = {}
        self._pending: dict[str, list[Row]] = {}
        self._rounds: list[Row] = []
        self._stream.write(MAGIC)
        self._json(b"H", asdict(header))
        self._stream.flush()

    def devices(self, records: Sequence[DeviceRecord]) -> None:
        """Write the devices' records where they are not those written last."""
        if tuple(records) == self._records:
            return
        self.flush()
        self._records = tuple(records)
        self._json(b"D", {"records": [record.to_json() for record in records]})

    def round(self, begin_ns: int, end_ns: int, rows: Mapping[str, Row]) -> None:
        """Take one round: a row for each device that answered."""
        for device, row in rows.items():
            invariant(device != ROUND, "a device has a name")
            self._pending.setdefault(device, []).append(row)
        self._rounds.append({BEGIN: begin_ns, END: end_ns})
        if len(self._rounds) >= self._rounds_per_block:
            self.flush()

    def failure(self, note: FailureNote) -> None:
        """Write that a device fails, or no longer does."""
        self._json(b"F", asdict(note))

    def mark(self, mark: Mark) -> None:
        """Write a mark."""
        self._json(b"M", asdict(mark))

    def flush(self) -> None:
        """Write the rounds taken so far."""
        if not self._rounds:
            return
        for device, rows in self._pending.items():
            # A run of rows with the same columns is a block; nearly always that is all of them.
            for columns, run in itertools.groupby(rows, key=lambda row: tuple(sorted(row))):
                self._block(device, columns, list(run))
        self._block(ROUND, (BEGIN, END), self._rounds)
        self._pending, self._rounds = {}, []
        self._stream.flush()

    def end(self) -> None:
        """Write what is left and the orderly end."""
        self.flush()
        self._frame(b"E", b"")
        self._stream.flush()

    def _block(self, device: str, columns: tuple[str, ...], rows: list[Row]) -> None:
        layout = self._layouts.get((device, columns))
        if layout is None:
            layout = self._layouts[device, columns] = len(self._layouts)
            self._json(b"C", {"layout": layout, "device": device, "columns": columns})
        packed = [_pack([row[column] for row in rows]) for column in columns]
        self._frame(b"S", _BLOCK.pack(layout, len(rows)) + b"".join(packed))

    def _json(self, kind: bytes, content: Mapping[str, object]) -> None:
        self._frame(kind, json.dumps(content, separators=(",", ":")).encode())

    def _frame(self, kind: bytes, payload: bytes) -> None:
        packed = zlib.compress(payload, 9)
        self._stream.write(_FRAME.pack(kind, len(packed), zlib.crc32(kind + packed)) + packed)


def decode(stream: BinaryIO, *, name: str) -> Recorded:
    """Read a recording.

    Args:
        stream: at the start of the file.
        name: of the file, for errors.

    Returns:
        Its content; of an incomplete file that of its whole rounds, with `cut_at_byte` set.

    Raises:
        DataError: no recording, of a newer format, or garbled; the sentence names the byte
            and what is intact before it.
    """
    if stream.read(len(MAGIC)) != MAGIC:
        raise DataError(f"{name} is no recording of flopmeter: it does not begin like one")
    decoder = _Decoder(name)
    offset = len(MAGIC)
    try:
        while not decoder.ended and (frame := _frame_at(stream, offset)) is not None:
            kind, payload, length = frame
            decoder.take(kind, payload, offset)
            offset += length
    except _DamagedError as damage:
        raise decoder.garbled(damage.offset, str(damage)) from damage
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        what = f"a frame's content is not understood ({error!r})"
        raise decoder.garbled(decoder.offset, what) from error
    return decoder.finished(offset)


class _DamagedError(Exception):
    """A frame that cannot be what was written."""

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(what)
        self.offset = offset


def _frame_at(stream: BinaryIO, offset: int) -> tuple[bytes, bytes, int] | None:
    """Kind, content and length in the file of the next frame; None where the file is cut."""
    head = stream.read(_FRAME.size)
    if len(head) < _FRAME.size:
        return None
    kind, length, checksum = _FRAME.unpack(head)
    if length > _FRAME_BYTES_MAXIMUM:
        raise _DamagedError(offset, f"a frame claims {length} bytes")
    packed = stream.read(length)
    if len(packed) < length:
        return None
    if zlib.crc32(kind + packed) != checksum:
        raise _DamagedError(offset, "a frame does not have the checksum it was written with")
    return kind, _unzipped(packed, offset), len(head) + length


def _unzipped(packed: bytes, offset: int) -> bytes:
    unzip = zlib.decompressobj()
    try:
        payload = unzip.decompress(packed, _PAYLOAD_BYTES_MAXIMUM)
    except zlib.error as error:
        raise _DamagedError(offset, f"a frame cannot be unpacked ({error})") from error
    if not unzip.eof:
        raise _DamagedError(offset, "a frame unpacks to more than a frame may hold")
    return payload


class _Decoder:
    """Takes frames in their order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.offset = 0
        self.ended = False
        self._recorded: Recorded | None = None
        self._layouts: dict[int, tuple[str, tuple[str, ...]]] = {}
        self._waiting: dict[str, list[Row]] = {}

    def take(self, kind: bytes, payload: bytes, offset: int) -> None:
        """Take the frame that begins at a byte."""
        self.offset = offset
        if kind == b"H":
            self._header(json.loads(payload))
            return
        if self._recorded is None:
            raise _DamagedError(self.offset, "it does not begin with its header")
        match kind:
            case b"D":
                listed = json.loads(payload)["records"]
                self._recorded.records.append(tuple(map(DeviceRecord.from_json, listed)))
            case b"C":
                layout = json.loads(payload)
                columns = tuple(map(str, layout["columns"]))
                self._layouts[int(layout["layout"])] = (str(layout["device"]), columns)
            case b"S":
                self._rows(self._recorded, payload)
            case b"F":
                self._recorded.failures.append(FailureNote(**json.loads(payload)))
            case b"M":
                self._recorded.marks.append(Mark(**json.loads(payload)))
            case b"E":
                self.ended = True
            case _:
                raise _DamagedError(self.offset, f"a frame is of unknown kind {kind!r}")

    def finished(self, end: int) -> Recorded:
        """What was read up to a byte.

        Raises:
            DataError: not even the header.
        """
        if self._recorded is None:
            raise self.garbled(end, "it is cut off within its header")
        if not self.ended:
            self._recorded.cut_at_byte = end
        return self._recorded

    def garbled(self, offset: int, what: str) -> DataError:
        """The error of a file that is damaged at a place."""
        if self._recorded is None or not self._recorded.rounds:
            return DataError(f"{self.name} is garbled at byte {offset}: {what}; nothing survives")
        return DataError(
            f"{self.name} is garbled at byte {offset}: {what}; {self._recorded.survivors} before "
            f"it are intact, and `head -c {offset}` makes a file of them"
        )

    def _header(self, content: dict[str, Any]) -> None:
        version = content["format_version"]
        if version != FORMAT_VERSION:
            raise DataError(
                f"{self.name} has format {version} and this flopmeter reads {FORMAT_VERSION}; "
                "read it with the version that wrote it or a newer one"
            )
        known = {entry.name: content[entry.name] for entry in fields(Header)}
        for entry in fields(Header):
            wanted = {"str": str, "int": int, "bool": bool}[str(entry.type)]
            if type(known[entry.name]) is not wanted:
                raise TypeError(f"{entry.name} is {known[entry.name]!r}")
        self._recorded = Recorded(Header(**known))

    def _rows(self, recorded: Recorded, payload: bytes) -> None:
        number, count = _BLOCK.unpack_from(payload)
        device, columns = self._layouts[number]
        if count > _ROWS_MAXIMUM or len(payload) != _BLOCK.size + 8 * count * len(columns):
            raise ValueError(f"a block of {count} rows has {len(payload)} bytes")
        rows: list[dict[str, int]] = [{} for _ in range(count)]
        for place, column in enumerate(columns):
            start = _BLOCK.size + 8 * count * place
            for row, number in zip(rows, _unpack(payload[start : start + 8 * count]), strict=True):
                row[column] = number
        if device != ROUND:
            self._waiting.setdefault(device, []).extend(rows)
            return
        recorded.rounds += rows
        for waiting, taken in self._waiting.items():
            recorded.rows.setdefault(waiting, []).extend(taken)
        self._waiting = {}


def _pack(column: Sequence[int]) -> bytes:
    """Differences as int64, their bytes sorted by significance: what zlib packs best."""
    differences = []
    before = 0
    for number in column:
        invariant(-_INT64_LIMIT <= number < _INT64_LIMIT, f"{number} is an int64")
        differences.append(_wrapped(number - before))
        before = number
    plain = struct.pack(f"<{len(differences)}q", *differences)
    return b"".join(plain[place::8] for place in range(8))


def _unpack(packed: bytes) -> list[int]:
    count = len(packed) // 8
    plain = bytearray(len(packed))
    for place in range(8):
        plain[place::8] = packed[place * count : (place + 1) * count]
    differences = struct.unpack(f"<{count}q", plain)
    return list(itertools.accumulate(differences, lambda before, step: _wrapped(before + step)))


def _wrapped(number: int) -> int:
    """An integer modulo 2^64 as int64: a difference of two int64 may need one bit more."""
    return (number + _INT64_LIMIT) % _INT64 - _INT64_LIMIT
