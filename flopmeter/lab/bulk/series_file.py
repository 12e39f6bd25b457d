"""The file of a series: years of readings of one device, in columns that need no parsing.

Owns: the format flopmeter/series/1, both directions, and what a damaged file says.
May touch: the byte streams it is handed; no clock, no other file.
Called by bulk.packing (writing) and bulk.metering (reading); docs/bulk.md has the format for
people, docs/adr/0036-bulk-telemetry.md why it is none of the known ones.

A file is `MAGIC` and frames: kind, rows, length, time of the first row, user and CRC-32, then the
payload, padded to 8 bytes. Kinds: HEAD (JSON), USER (JSON: an allocation and its number), ROWS (a
block: 32-bit columns one after the other), DONE (the orderly end).
A block has one user, and no two of its rows are more than two sampling periods apart.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, BinaryIO

from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import DataError, invariant
from flopmeter_core.registers import SM_CYCLE_COMPONENTS, Evidence

MAGIC = b"flopmeter/series\n".ljust(32, b"\0")
FORMAT_VERSION = 1

SINCE_NS = "since_ns"
"""The first column of every block: ns since the row before; 0 in a block's first row."""

ACTIVITY = "activity_ppm."
RUNNING = frozenset({"energy_mj"})
"""Cumulative columns, stored as what came since the row before; the first row has its whole value
in front of the block."""

COLUMNS = frozenset(
    {"clock_khz", "power_mw", "energy_mj", "busy_ppm", "engine_ppm"}
    | {ACTIVITY + component.name.lower() for component in SM_CYCLE_COMPONENTS}
)
"""Columns a series may have beside its times, as core.readings names them."""

INTERVAL_EVIDENCE = (
    Evidence.GPM,
    Evidence.DCGM_SAMPLED,
    Evidence.ENERGY,
    Evidence.POWER_SAMPLED,
    Evidence.BUSY_SAMPLED,
)
"""The rungs a series may be of: cumulative cycle counters need more than 32 bits a second."""

ROWS_MAXIMUM = 1 << 16
"""Rows of a block: with six columns 1.5 MiB, so that a block stays in the processor's cache."""

CELL_LIMIT = 1 << 32
_FRAME = struct.Struct("<4sIQqII")
_HEAD, _USER, _ROWS, _DONE = b"HEAD", b"USER", b"ROWS", b"DONE"
_TEXT_MAXIMUM = 1 << 20


@dataclass(frozen=True, slots=True)
class SeriesHead:
    """What a series says of itself.

    Attributes:
        identity: 32 hexadecimal digits; the registers made of it are known by them, so that the
            same series counts once however often it is read, and under whatever file name.
        record: the device.
        epoch_ns: Unix time in ns of the series' time 0.
        period_ns: the period the readings were taken at.
        evidence: the rung of every reading.
        columns: of every block, beside the times.
        software: version of flopmeter that wrote it.
    """

    identity: str
    record: DeviceRecord
    epoch_ns: int
    period_ns: int
    evidence: Evidence
    columns: tuple[str, ...]
    software: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of one user, in order.

    Attributes:
        user: the allocation.
        rows: how many, 1 or more.
        first_ns: time of the first row, in ns since the series' time 0.
        bases: running column -> its value in the first row.
        cells: `SINCE_NS` and the columns of the head, one after the other, 32 bits a cell.
        columns: the same by name.
    """

    user: str
    rows: int
    first_ns: int
    bases: Mapping[str, int]
    cells: memoryview
    columns: Mapping[str, memoryview]


def head_of(content: Mapping[str, Any], name: str) -> SeriesHead:
    """Read a head.

    Raises:
        DataError: of a newer format, or with a field that nothing writes.
    """
    if content.get("format_version") != FORMAT_VERSION:
        raise DataError(
            f"{name} has format {content.get('format_version')} and this flopmeter reads "
            f"{FORMAT_VERSION}; read it with the version that wrote it or a newer one"
        )
    try:
        head = SeriesHead(
            identity=str(content["identity"]),
            record=DeviceRecord.from_json(content["record"]),
            epoch_ns=int(content["epoch_ns"]),
            period_ns=int(content["period_ns"]),
            evidence=Evidence[str(content["evidence"]).upper()],
            columns=tuple(map(str, content["columns"])),
            software=str(content.get("software", "")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{name} has a head that is not understood ({error!r})") from error
    check_head(head, name)
    return head


def check_head(head: SeriesHead, name: str) -> None:
    """Refuse what no series can say of itself.

    Args:
        head: what it says.
        name: of the series, for the sentence.

    Raises:
        DataError: an identity, rung, period or column that cannot be.
    """
    problem = _problem_of(head)
    if problem:
        raise DataError(f"{name} {problem}")


def _problem_of(head: SeriesHead) -> str:
    unknown = [column for column in head.columns if column not in COLUMNS]
    if len(head.identity) != 32 or set(head.identity) - set("0123456789abcdef"):
        return f"has the identity {head.identity!r}; 32 hexadecimal digits are one"
    if unknown or len(set(head.columns)) != len(head.columns):
        return f"has the columns {', '.join(head.columns)}; known are {', '.join(sorted(COLUMNS))}"
    if head.evidence not in INTERVAL_EVIDENCE:
        return f"is of rung {head.evidence.name.lower()}, which a series cannot hold"
    if not 0 < head.period_ns < CELL_LIMIT // 2:
        return f"has a sampling period of {head.period_ns} ns; below 2.1 s is possible"
    return ""


class SeriesWriter:
    """Writes one series, a block at a time."""

    def __init__(self, stream: BinaryIO, head: SeriesHead) -> None:
        """Write the head.

        Args:
            stream: takes the bytes; closed by its owner.
            head: what the series says of itself; `check_head` let it pass.
        """
        self._stream = stream
        self._head = head
        self._users: dict[str, int] = {}
        stream.write(MAGIC)
        content = {entry.name: getattr(head, entry.name) for entry in fields(SeriesHead)}
        content |= {
            "format_version": FORMAT_VERSION,
            "record": head.record.to_json(),
            "evidence": head.evidence.name.lower(),
        }
        self._text(_HEAD, content)

    def block(
        self, user: str, first_ns: int, bases: Mapping[str, int], columns: Sequence[bytes]
    ) -> None:
        """Write a block.

        Args:
            user: the allocation of all its rows.
            first_ns: time of its first row in ns since the series' time 0.
            bases: the first row's value of each running column the head has.
            columns: the cells of `SINCE_NS` and of the head's columns, little-endian, 4 bytes
                each, all equally many.
        """
        rows = len(columns[0]) // 4
        alike = all(len(column) == 4 * rows for column in columns)
        invariant(0 < rows <= ROWS_MAXIMUM and alike, "a block has columns of equal length")
        invariant(len(columns) == 1 + len(self._head.columns), "a block has the head's columns")
        if user not in self._users:
            self._users[user] = len(self._users)
            self._text(_USER, {"number": self._users[user], "allocation": user})
        running = [bases[name] for name in self._head.columns if name in RUNNING]
        payload = struct.pack(f"<{len(running)}q", *running) + b"".join(columns)
        self._frame(_ROWS, payload, rows=rows, first_ns=first_ns, user=self._users[user])

    def end(self) -> None:
        """Write the orderly end."""
        self._frame(_DONE, b"")
        self._stream.flush()

    def _text(self, kind: bytes, content: Mapping[str, object]) -> None:
        self._frame(kind, json.dumps(content, separators=(",", ":")).encode())

    def _frame(
        self, kind: bytes, payload: bytes, *, rows: int = 0, first_ns: int = 0, user: int = 0
    ) -> None:
        padded = payload.ljust(-(-len(payload) // 8) * 8, b"\0")
        checksum = zlib.crc32(
            padded, zlib.crc32(_FRAME.pack(kind, rows, len(payload), first_ns, user, 0))
        )
        self._stream.write(_FRAME.pack(kind, rows, len(payload), first_ns, user, checksum))
        self._stream.write(padded)


class SeriesReader:
    """Reads one series, a block at a time and in constant memory."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        """Read the head.

        Args:
            stream: at the start of the file.
            name: of the file, for errors.

        Raises:
            DataError: no series, or a head that is not understood.
        """
        self._stream = stream
        self._name = name
        self._users: dict[int, str] = {}
        self._buffer = bytearray()
        self.offset = len(MAGIC)
        """Bytes read so far."""
        if stream.read(len(MAGIC)) != MAGIC:
            raise DataError(f"{name} is no series of flopmeter: it does not begin like one")
        frame = self._next()
        if frame is None or frame[0] != _HEAD:
            raise DataError(f"{name} is garbled at byte {len(MAGIC)}: a series begins with a head")
        self.head = head_of(self._json(frame[4]), name)

    def blocks(self) -> Iterator[Block]:
        """Its blocks; the cells of one hold until the next is asked for.

        Raises:
            DataError: garbled or cut off; the sentence names the byte.
        """
        while (frame := self._next()) is not None:
            kind, rows, first_ns, user, payload = frame
            if kind == _DONE:
                return
            if kind == _USER:
                content = self._json(payload)
                self._users[int(content.get("number", -1))] = str(content.get("allocation", ""))
            elif kind == _ROWS:
                yield self._block(rows, first_ns, user, payload)
            else:
                raise self._garbled(f"a frame is of unknown kind {kind!r}")
        raise DataError(
            f"{self._name} is cut off at byte {self.offset}: its end is missing; write it anew, or "
            f"pack what there is again"
        )

    def _block(self, rows: int, first_ns: int, user: int, payload: memoryview) -> Block:
        columns = self.head.columns
        running = [name for name in columns if name in RUNNING]
        if user not in self._users:
            raise self._garbled(f"a block is of user {user}, who was not introduced")
        front = 8 * len(running)
        if not 0 < rows <= ROWS_MAXIMUM or len(payload) != front + 4 * rows * (1 + len(columns)):
            raise self._garbled(f"a block of {rows} rows has {len(payload)} bytes")
        bases = dict(zip(running, payload[:front].cast("q"), strict=True))
        cells = payload[front:].cast("I")
        return Block(
            self._users[user],
            rows,
            first_ns,
            bases,
            cells,
            {
                name: cells[place * rows : (place + 1) * rows]
                for place, name in enumerate((SINCE_NS, *columns))
            },
        )

    def _next(self) -> tuple[bytes, int, int, int, memoryview] | None:
        """Kind, rows, first time, user and payload of the next frame; None at a cut."""
        packed = self._stream.read(_FRAME.size)
        if len(packed) < _FRAME.size:
            return None
        kind, rows, length, first_ns, user, checksum = _FRAME.unpack(packed)
        most = (4 * (len(COLUMNS) + 1) * ROWS_MAXIMUM + 64) if kind == _ROWS else _TEXT_MAXIMUM
        if length > most:
            raise self._garbled(f"a frame claims {length} bytes")
        padded = -(-length // 8) * 8
        if len(self._buffer) < padded:
            self._buffer = bytearray(padded)
        payload = memoryview(self._buffer)[:padded]
        if self._stream.readinto(payload) < padded:  # type: ignore[attr-defined]
            return None
        unsigned = _FRAME.pack(kind, rows, length, first_ns, user, 0)
        if zlib.crc32(payload, zlib.crc32(unsigned)) != checksum:
            raise self._garbled("a frame does not have the checksum it was written with")
        self.offset += _FRAME.size + padded
        return kind, rows, first_ns, user, payload[:length]

    def _json(self, payload: memoryview) -> dict[str, Any]:
        try:
            content = json.loads(bytes(payload))
        except ValueError as error:
            raise self._garbled(f"a frame's text is not understood ({error})") from error
        if not isinstance(content, dict):
            raise self._garbled("a frame's text is no object")
        return content

    def _garbled(self, what: str) -> DataError:
        return DataError(
            f"{self._name} is garbled at byte {self.offset}: {what}; copy it again from where it "
            "was made"
        )
