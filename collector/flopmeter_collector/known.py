"""The usual report of an agent: keys its stream stated before, all of which only grew.

Owns: which row each key number of a stream stands for, and that a report is taken so whole or not.
May touch: the register table it is given.
Called by the service for each message; one that is not usual is taken by receive.py, as ever.
Explained in docs/adr/0039-registers-in-rows.md.

Nothing is decided here that is not decided for a vector that comes alone. A key number stands for
a row once a vector of it was taken on this stream, so kind, certificate and limits were looked at.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable

from flopmeter_collector.intake import Intake
from flopmeter_core.registers import ZERO_VECTOR, Key
from flopmeter_core.reports import Hello, KeyedVector, Report
from flopmeter_proto.wire.known import KnownReport

Numbered = Callable[[Key], int]


class KnownKeys:
    """The rows of one stream's keys."""

    def __init__(self) -> None:
        """Begin with a new stream."""
        self._places: dict[int, int] = {}
        self._numbers = array("q")
        self._rows = array("q")

    def learn(self, intake: Intake, taken: Iterable[KeyedVector], number: Numbered) -> None:
        """Note the rows of keys of which a vector was taken.

        Args:
            intake: that took them.
            taken: the vectors.
            number: gives a key's number on the stream.
        """
        for keyed in taken:
            self._places[number(keyed.key)] = intake.rows.place(keyed.key)

    def take(self, intake: Intake, report: KnownReport, hello: Hello) -> bool:
        """Merge a report, where each vector only grew; the caller commits and answers.

        Args:
            intake: where to.
            report: what came.
            hello: its sender.

        Returns:
            Whether all of it was merged; where it was not, nothing was.
        """
        places = self._placed(report.numbers)
        if places is None or not intake.grow(places, report.came, report.follows):
            return False
        intake.note_live(hello, report.boot_ns)
        intake.counts.reports += 1
        intake.seen(hello.node, report.display_flop)
        return True

    def said(self, intake: Intake, report: KnownReport) -> Report:
        """As much of a report that was merged as its answer tells of: keys and sequences."""
        keys = intake.rows.keys
        vectors = tuple(
            KeyedVector(keys[place], sequence, ZERO_VECTOR)
            for place, sequence in zip(self._rows, report.sequences, strict=True)
        )
        return Report(records={}, vectors=vectors, boot_ns=report.boot_ns, wall_ns=0)

    def _placed(self, numbers: array[int]) -> array[int] | None:
        """The row of each vector; None where one has none, or two have the same."""
        if numbers != self._numbers:
            known = self._places
            places = [known.get(number, -1) for number in numbers]
            if min(places) < 0 or len(set(places)) < len(places):
                return None
            self._numbers, self._rows = numbers, array("q", places)
        return self._rows
