"""The columns of a batch as rows of integers, and back: the usual batch, without objects.

Owns: which columns fit together and hold nothing but what a register can, and their rows.
May touch: generated messages; no socket, no clock.
Called by batch. Explained in docs/adr/0039-registers-in-rows.md.
"""

from __future__ import annotations

import sys
from array import array

from flopmeter_core.batches import MAXIMUM_VECTORS_PER_BATCH
from flopmeter_core.kernels.known_rows import CAME_BOOT, CAME_FIRST, CAME_SEQUENCE, CAME_WIDTH
from flopmeter_core.kernels.scatter import scatter
from flopmeter_core.registers import COMPONENT_COUNT, Vector
from flopmeter_core.units import REGISTER_LIMIT
from flopmeter_core.values import value_class
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb

GREATEST_TIME_NS = (1 << 63) - 1

_WORD = 8

_ENTRIES_TAG = pb.Column.COMPONENT_VALUES_FIELD_NUMBER << 3 | 2
"""Before the packed entries of a column: the field's number and "so many bytes follow"."""

_MORE = 0x80
"""Set in each byte of a length but the last."""


@value_class(frozen=True, slots=True)
class KnownBatch:
    """The vectors of a batch.

    Attributes:
        numbers: of each vector the number of its key on the stream.
        came: its row (`known_rows.CAME_WIDTH`), one after the other.
        hourly: numbers of keys of which an hour comes beside the vector.
    """

    numbers: list[int]
    came: array[int]
    hourly: frozenset[int]

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def sequences(self) -> array[int]:
        """The sequence of each vector."""
        return self.came[CAME_SEQUENCE::CAME_WIDTH]

    def sequence(self, place: int) -> int:
        """The sequence of one vector."""
        return self.came[place * CAME_WIDTH + CAME_SEQUENCE]

    def boot_ns(self, place: int) -> int:
        """The boot time of one vector; 0 where nobody said it."""
        return self.came[place * CAME_WIDTH + CAME_BOOT]

    def vector(self, place: int) -> Vector:
        """The components of one vector."""
        at = place * CAME_WIDTH + CAME_FIRST
        return tuple(self.came[at : at + COMPONENT_COUNT])


def batch_rows(message: pb.StreamBatchesRequest) -> KnownBatch | None:
    """The rows of a batch; None where the columns do not fit, or there are none."""
    numbers = message.key_numbers[:]
    count = len(numbers)
    if not 0 < count <= MAXIMUM_VECTORS_PER_BATCH or len(message.columns) > COMPONENT_COUNT:
        return None
    came = array("q", bytes(_WORD * CAME_WIDTH * count))
    columns = [(CAME_SEQUENCE, 1, REGISTER_LIMIT - 1, array("q", message.sequences[:]))]
    if message.boot_duration_ns:
        times_ns = array("q", message.boot_duration_ns[:])
        columns.append((CAME_BOOT, 0, GREATEST_TIME_NS, times_ns))
    for place, column in enumerate(message.columns):
        entries = _entries(column)
        if entries:
            columns.append((CAME_FIRST + place, 0, REGISTER_LIMIT - 1, entries))
    for place, least, last, entries in columns:
        if len(entries) != count or not scatter(entries, came, place, CAME_WIDTH, least, last):
            return None
    hourly = frozenset([hour.key_number for hour in message.hourly_vectors])
    return KnownBatch(numbers, came, hourly) if message.columns else None


def _entries(column: pb.Column) -> array[int]:
    """The entries of a column, without making a number of each.

    They are fixed 64-bit little endian integers side by side, so the bytes of the column's message
    are a tag, their length and themselves. Where a newer sender put more into it, they are asked
    for one by one.
    """
    raw = column.SerializeToString()
    head = 1
    while head < len(raw) and raw[head] >= _MORE:
        head += 1
    head += 1
    size = sum((byte & (_MORE - 1)) << (7 * place) for place, byte in enumerate(raw[1:head]))
    if not raw or raw[0] != _ENTRIES_TAG or head + size != len(raw):
        return array("q", column.component_values[:])
    entries = array("q")
    entries.frombytes(raw[head:])
    if sys.byteorder == "big":
        entries.byteswap()
    return entries
