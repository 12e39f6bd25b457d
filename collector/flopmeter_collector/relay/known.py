"""The usual vectors of a relay's batch: keys that came on its stream before, which only grew.

Owns: which row each key number of the stream stands for, and which vectors go one by one.
May touch: the intake it is given.
Called by the service for each batch; what is left is taken by receive.py, as ever.
Explained in docs/adr/0039-registers-in-rows.md.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from flopmeter_collector.intake import Intake
from flopmeter_core.batches import RelayBatch
from flopmeter_core.registers import Key
from flopmeter_core.reports import Durability, KeyedVector
from flopmeter_proto.wire.batch import BatchMessage, BatchReader
from flopmeter_proto.wire.columns import KnownBatch

NO_ROW = -1


class KnownBatches:
    """The rows of one relay's stream."""

    def __init__(self, stream: int) -> None:
        """Begin.

        Args:
            stream: its number; what came from elsewhere since is told of, so it is not usual.
        """
        self._stream = stream
        self._places: dict[int, int] = {}

    def learn(self, number: int, place: int) -> None:
        """Note the row of a key of which a vector was taken."""
        self._places[number] = place

    def place(self, rows: KnownBatch) -> array[int]:
        """The row of each vector of a batch; `NO_ROW` of those that go one by one."""
        known = self._places
        places = [known.get(number, NO_ROW) for number in rows.numbers]
        if rows.hourly or len(set(rows.numbers)) < len(places):
            # Of a key that comes twice, as the branches of a fork do, each is looked at.
            several = {number for number, count in Counter(rows.numbers).items() if count > 1}
            apart = several | rows.hourly
            places = [
                NO_ROW if number in apart else row
                for number, row in zip(rows.numbers, places, strict=True)
            ]
        return array("q", places)

    def grow(self, intake: Intake, places: array[int], rows: KnownBatch) -> list[int]:
        """Merge the vectors that are usual; returns the places of the others in the batch."""
        usual = intake.grow_usual(places, rows.came, self._stream)
        return [place for place, mark in enumerate(usual) if not mark]


class Received:
    """One message of a relay, read.

    Attributes:
        batch: what has to be taken one by one, and all of it but vectors.
        rows: its vectors, where they are read as rows.
        grown: how many of them were taken as rows.
    """

    def __init__(
        self, reader: BatchReader, message: BatchMessage, known: KnownBatches | None
    ) -> None:
        """Read a message; nothing of it is merged yet.

        Args:
            reader: of its stream.
            message: what came.
            known: the rows of its stream; None where every vector goes one by one.

        Raises:
            WireError: as `BatchReader.batch`.
        """
        self._reader, self._known = reader, known
        self.grown = 0
        self._left: Sequence[int] | None = None
        reader.state(message)
        self.rows = reader.rows(message) if known is not None else None
        if known is None or self.rows is None:
            self.batch = reader.around(message, reader.vectors(message))
            return
        self._places = known.place(self.rows)
        unknown = [place for place, row in enumerate(self._places) if row == NO_ROW]
        self.batch = reader.around(message, reader.keyed(self.rows, unknown))

    def grow(self, intake: Intake) -> RelayBatch:
        """Merge what is usual; returns the batch of what is left, in its order."""
        if self._known is not None and self.rows is not None:
            self._left = self._known.grow(intake, self._places, self.rows)
            self.grown = len(self.rows) - len(self._left)
            vectors = self._reader.keyed(self.rows, self._left)
            records = {**self.batch.records, **self._reader.records(vectors)}
            self.batch = replace(self.batch, vectors=vectors, records=records)
        return self.batch

    def learn(self, intake: Intake, taken: Iterable[KeyedVector]) -> None:
        """Note the rows of keys of which a vector was taken: the next one may be usual."""
        if self._known is not None:
            for keyed in taken:
                self._known.learn(self._reader.number(keyed.key), intake.rows.place(keyed.key))

    def grown_to(self, intake: Intake) -> list[tuple[Key, int]]:
        """Keys and sequences of the vectors that were taken as rows."""
        rows, keys = self.rows, intake.rows.keys
        if rows is None or self._left is None:
            return []
        left = set(self._left)
        return [
            (keys[row], rows.sequence(place))
            for place, row in enumerate(self._places)
            if place not in left
        ]

    def placed(
        self, untaken: Mapping[int, tuple[Durability, str]]
    ) -> Mapping[int, tuple[Durability, str]]:
        """What became of vectors of the batch, by their places in the message."""
        left = self._left
        return untaken if left is None else {left[at]: found for at, found in untaken.items()}
