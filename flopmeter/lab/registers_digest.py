"""The hash of everything an answer was made of: every register and hour, as they were read.

Owns: how a row is spelled for the hash.
May touch: nothing; rows pass through it.
Called by the lab's recompute and reporting: two answers with one hash rest on the same registers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator

from flopmeter_collector.ledger.base import StoredVector
from flopmeter_core.reports import HourlyVector

Row = StoredVector | HourlyVector


def _line(row: Row) -> str:
    """A row as one line of JSON, without the zeros at its end: an older flopmeter lacked them."""
    of = row.key
    key = [of.device, of.incarnation, of.allocation, of.phase, int(of.evidence), of.record]
    if isinstance(row, StoredVector):
        place = [row.branch, row.sequence]
    else:
        place = [row.sequence, row.first_hour, row.boot_ns, row.wall_ns]
    vector = list(row.vector)
    while vector and not vector[-1]:
        vector.pop()
    return json.dumps([key, place, vector]) + "\n"


class Digest:
    """The hash of all registers and hours that an answer was made of, as they were read."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Pass rows through and hash them."""
        for row in rows:
            self._hash.update(_line(row).encode())
            yield row

    @property
    def text(self) -> str:
        """64 hexadecimal digits."""
        return self._hash.hexdigest()
