"""The columns of a batch as rows of integers, and back: the usual batch, without objects.

Owns: which columns fit together and hold nothing but what a register can, and their rows.
May touch: generated messages; no socket, no clock.
Called by batch. Explained in docs/adr/0039-registers-in-rows.md.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from flopmeter_core.kernels.known_rows import CAME_BOOT, CAME_FIRST, CAME_SEQUENCE, CAME_WIDTH
from flopmeter_core.registers import COMPONENT_COUNT, Vector
from flopmeter_core.reports import MAXIMUM_VECTORS_PER_BATCH
from flopmeter_core.units import REGISTER_LIMIT
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb

_WORD = 8


@dataclass(frozen=True, slots=True)
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
    columns = [(CAME_SEQUENCE, message.sequences[:])]
    if message.boot_duration_ns:
        columns.append((CAME_BOOT, message.boot_duration_ns[:]))
    for place, column in enumerate(message.columns):
        if column.component_values:
            columns.append((CAME_FIRST + place, column.component_values[:]))
    for place, entries in columns:
        least, greatest = (1, REGISTER_LIMIT) if place == CAME_SEQUENCE else (0, REGISTER_LIMIT)
        if place == CAME_BOOT:
            greatest = 1 << 63
        if len(entries) != count or min(entries) < least or max(entries) >= greatest:
            return None
        came[place::CAME_WIDTH] = array("q", entries)
    hourly = frozenset([hour.key_number for hour in message.hourly_vectors])
    return KnownBatch(numbers, came, hourly) if message.columns else None
