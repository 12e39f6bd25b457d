"""Telemetry as text becomes series: one file a device, read fast from then on.

Owns: the columns such a text may have, and where a block of a series ends.
May touch: the text it is given, read only; new files in the folder it is given.
Called by ``flopmeter pack``; docs/bulk.md has the text for people.

A row that lacks a number is left out, as a reading that failed is: what that makes of its time is
the rung's rule for a gap. A file is made under another name and gets its own when it is whole.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import os
import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flopmeter.lab.bulk.series_file import (
    CELL_LIMIT,
    COLUMNS,
    ROWS_MAXIMUM,
    RUNNING,
    SeriesHead,
    SeriesWriter,
    check_head,
)
from flopmeter_core.allocations import NONE, for_run
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import DataError, StorageError
from flopmeter_core.increments import LONGEST_SAMPLED_PERIODS
from flopmeter_core.registers import Evidence

SUFFIX = ".fmseries"
TIME, DEVICE, NODE, RUN = "time_ns", "device", "node", "run"
_INT64_LIMIT = 1 << 63

SERIES_MAXIMUM = 20_000
"""Devices of one text: each is an open file until the text ends."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a text does not say of its devices.

    Attributes:
        record: a record whose `node` and `device` the rows give.
        evidence: the rung of every reading.
        period_ns: the period they were taken at.
        software: version that packs.
    """

    record: DeviceRecord
    evidence: Evidence
    period_ns: int
    software: str


@dataclass(slots=True)
class Packed:
    """What was packed.

    Attributes:
        files: device -> its file.
        rows: readings written.
        incomplete: rows left out because a number was missing.
    """

    files: dict[str, Path] = field(default_factory=dict)
    rows: int = 0
    incomplete: int = 0


def pack(lines: Iterable[str], folder: Path, origin: Origin, *, name: str) -> Packed:
    """Pack a text.

    Args:
        lines: comma-separated, a header first; of each device in the order of time.
        folder: gets one file a device; none of them may exist.
        origin: what the text does not say.
        name: of the text, for errors.

    Raises:
        DataError: a header or row that is not understood; the sentence names the line.
        StorageError: a file exists or cannot be written.
    """
    rows = csv.reader(lines)
    packed = Packed()
    series: dict[str, _Series] = {}
    try:
        layout = _Layout.of(next(rows, []), name)
        folder.mkdir(parents=True, exist_ok=True)
        for row in rows:
            parsed = layout.parse(row, rows.line_num)
            if parsed is None:
                packed.incomplete += 1
                continue
            known = series.get(parsed.device)
            if known is None:
                if len(series) == SERIES_MAXIMUM:
                    raise DataError(f"{name} has more than {SERIES_MAXIMUM} devices; divide it")
                known = series[parsed.device] = _Series(folder, origin, layout, parsed)
            known.take(parsed, f"{name} line {rows.line_num}")
            packed.rows += 1
        packed.files = {device: each.end() for device, each in series.items()}
    except csv.Error as error:
        raise DataError(f"{name} is no comma-separated text: {error}") from error
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        for each in series.values():
            each.close()
    if not packed.files:
        raise DataError(f"{name} holds no row with all its numbers")
    return packed


@dataclass(frozen=True, slots=True)
class _Row:
    """One line: whose it is, when it was read, and its numbers in the layout's order."""

    device: str
    node: str
    run: str
    time_ns: int
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where what stands in a line."""

    name: str
    cell_count: int
    time_place: int
    device_place: int
    node_place: int | None
    run_place: int | None
    columns: tuple[str, ...]
    places: tuple[int, ...]

    @classmethod
    def of(cls, header: Sequence[str], name: str) -> _Layout:
        """Read a header.

        Raises:
            DataError: a column nobody knows, twice, or missing.
        """
        known = {TIME, DEVICE, NODE, RUN} | COLUMNS
        strange = sorted(set(header) - known)
        if strange or len(set(header)) != len(header):
            raise DataError(
                f"{name} has the columns {', '.join(header)[:500]}; known are "
                f"{', '.join(sorted(known))}, each at most once"
            )
        columns = tuple(column for column in header if column in COLUMNS)
        if TIME not in header or DEVICE not in header or not columns:
            raise DataError(
                f"{name} needs the columns {TIME} and {DEVICE} and at least one that was read"
            )
        place = {column: number for number, column in enumerate(header)}
        return cls(
            name,
            len(header),
            place[TIME],
            place[DEVICE],
            place.get(NODE),
            place.get(RUN),
            columns,
            tuple(place[column] for column in columns),
        )

    def parse(self, row: Sequence[str], line: int) -> _Row | None:
        """Read a line; None where it lacks a number.

        Raises:
            DataError: too short or long, or something that is no whole number.
        """
        if len(row) != self.cell_count:
            raise DataError(
                f"{self.name} line {line} has {len(row)} cells and the header {self.cell_count}"
            )
        cells = [row[place] for place in self.places]
        if not row[self.device_place]:
            raise DataError(f"{self.name} line {line} names no device")
        if not all(cells):
            return None
        try:
            time_ns, *numbers = map(int, (row[self.time_place], *cells))
        except ValueError as error:
            raise DataError(
                f"{self.name} line {line} holds something that is no whole number: {error}"
            ) from error
        run = "" if self.run_place is None else row[self.run_place]
        return _Row(
            row[self.device_place],
            "" if self.node_place is None else row[self.node_place],
            for_run(run) if run else NONE,
            time_ns,
            tuple(numbers),
        )


class _Series:
    """One device's file while it is made."""

    def __init__(self, folder: Path, origin: Origin, layout: _Layout, first: _Row) -> None:
        record = dataclasses.replace(
            origin.record, device=first.device, node=first.node or origin.record.node
        )
        self._columns = layout.columns
        self._record = record
        self._longest_ns = min(LONGEST_SAMPLED_PERIODS * origin.period_ns, CELL_LIMIT - 1)
        self._epoch_ns = first.time_ns
        self._last_ns = first.time_ns
        self._user = ""
        self._cells: list[array[int]] = []
        self._bases: dict[str, int] = {}
        self._begin_ns = 0
        self._before: Mapping[str, int] = {}
        safe = re.sub(r"[^A-Za-z0-9._-]", "_", f"{record.node}_{record.device}")[:150]
        mark = hashlib.sha256(record.device.encode()).hexdigest()[:8]
        self._path = folder / f"{safe}-{mark}{SUFFIX}"
        if self._path.exists():
            raise StorageError(f"{self._path} exists; name another folder, or remove it")
        head = SeriesHead(
            identity="",
            record=record,
            epoch_ns=first.time_ns,
            period_ns=origin.period_ns,
            evidence=origin.evidence,
            columns=layout.columns,
            software=origin.software,
        )
        head = dataclasses.replace(head, identity=_identity(head, first))
        check_head(head, f"the series of {record.device}")
        self._partial = self._path.with_suffix(".partial")
        self._stream = self._partial.open("wb")
        self._writer = SeriesWriter(self._stream, head)

    def take(self, row: _Row, place: str) -> None:
        """Add a reading.

        Raises:
            DataError: its time lies before that of the one before, or a number fits nowhere.
        """
        since_ns = row.time_ns - self._last_ns
        if since_ns < 0:
            raise DataError(
                f"{place} goes back in time by {-since_ns} ns for device {row.device}; sort the "
                "rows of each device by time"
            )
        if row.node and row.node != self._record.node:
            raise DataError(
                f"{place} moves device {row.device} to node {row.node}; divide the text there"
            )
        fresh = (
            not self._cells
            or row.run != self._user
            or since_ns > self._longest_ns
            or len(self._cells[0]) == ROWS_MAXIMUM
        )
        said = dict(zip(self._columns, row.numbers, strict=True))
        if not fresh:
            # A cumulative counter that went back, or ran too far, begins a block as well.
            fresh = any(
                not 0 <= said[c] - self._before[c] < CELL_LIMIT for c in RUNNING & said.keys()
            )
        if fresh:
            self._flush()
            self._user, self._begin_ns = row.run, row.time_ns - self._epoch_ns
            self._cells = [array("I") for _ in range(1 + len(self._columns))]
            self._bases = {name: said[name] for name in RUNNING & said.keys()}
        self._cells[0].append(0 if fresh else since_ns)
        for cells, column in zip(self._cells[1:], self._columns, strict=True):
            number = said[column]
            if column in RUNNING:
                number = 0 if fresh else number - self._before[column]
            if not 0 <= said[column] < (_INT64_LIMIT if column in RUNNING else CELL_LIMIT):
                raise DataError(f"{place}: {column} is {said[column]}, which no device says")
            cells.append(number)
        self._last_ns, self._before = row.time_ns, said

    def end(self) -> Path:
        """Write what is left, make it durable, and give the file its name."""
        self._flush()
        self._writer.end()
        os.fsync(self._stream.fileno())
        self._stream.close()
        self._partial.rename(self._path)
        return self._path

    def close(self) -> None:
        """Give up what was not ended."""
        if not self._stream.closed:
            self._stream.close()
            self._partial.unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._cells:
            columns = [cells.tobytes() for cells in self._cells]
            self._writer.block(self._user, self._begin_ns, self._bases, columns)
        self._cells = []


def _identity(head: SeriesHead, first: _Row) -> str:
    """The same for the same series, however often and however far it is packed."""
    content = [
        head.record.to_json(),
        head.epoch_ns,
        head.period_ns,
        int(head.evidence),
        head.columns,
        first.numbers,
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
