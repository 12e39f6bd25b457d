"""Tables of training runs in CSV, read row by row.

Owns: opening the file, its header and the shape of its lines.
May touch: the one file it is given, read only.
Called by the `estimate` command, lab.desk_fit and lab.desk_score; cells are read by core.desk.row.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from flopmeter_core.desk.row import COLUMNS, Row, read_row
from flopmeter_core.devices import DeviceTable, builtin_parts
from flopmeter_core.errors import DataError, not_text, unreadable

FILE_BYTES_MAX = 64 << 20


@dataclass(frozen=True, slots=True)
class PublishedRuns:
    """The rows of a table, in its order, and the columns of it that nobody reads."""

    rows: tuple[Row, ...]
    unread_columns: tuple[str, ...]


def builtin_devices() -> DeviceTable:
    """The device table flopmeter ships."""
    return builtin_parts()


def read_published(path: Path, table: DeviceTable | None = None) -> PublishedRuns:
    """Read a CSV table of training runs.

    Args:
        path: a file of UTF-8 with a header; columns are found by name, in any order.
        table: the device table; the built-in one unless given.

    Raises:
        UsageError: the file cannot be read.
        DataError: no table, a line of the wrong length, or a cell that cannot be used; the
            sentence names the line and the column.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise DataError(f"{path} is larger than {FILE_BYTES_MAX >> 20} MiB; split it")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise not_text(path) from error
    return parse_published(text, name=path.name, table=table or builtin_devices())


def parse_published(text: str, *, name: str, table: DeviceTable) -> PublishedRuns:
    """Read a table from its text.

    Args:
        text: the content of the file.
        name: of the file, for sentences.
        table: the device table.

    Raises:
        DataError: as `read_published`.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [column.strip() for column in next(reader, [])]
        _check_header(header, name)
        rows = []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            place = f"{name} line {reader.line_num}"
            if len(cells) != len(header):
                raise DataError(
                    f"{place} has {len(cells)} cells, the header has {len(header)}; "
                    "a cell with a comma needs quotes"
                )
            rows.append(read_row(dict(zip(header, cells, strict=True)), table, place=place))
    except csv.Error as error:
        raise DataError(f"{name} line {reader.line_num} is no CSV: {error}") from error
    if not rows:
        raise DataError(f"{name} holds no row; a table needs a header and one line a run")
    unread = tuple(column for column in header if column not in COLUMNS)
    return PublishedRuns(rows=tuple(rows), unread_columns=unread)


def _check_header(header: list[str], name: str) -> None:
    known = [column for column in header if column in COLUMNS]
    if "model" not in known:
        raise DataError(f"{name} has no column named model; its first line must name the columns")
    doubled = sorted({column for column in known if known.count(column) > 1})
    if doubled:
        raise DataError(f"{name} has the column {doubled[0]} twice; keep one")
